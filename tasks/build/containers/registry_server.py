"""The private registry: Debian's docker-registry as one process a workspace, on the host's loopback.

Guests reach it through QEMU's user network, where the host is 192.168.0.250. Its images are files below the
workspace; they are listed and removed as files, so that both work when it does not run, and without a login.
"""

import secrets
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.base import files, helper, proc, records
from tasks.base.errors import UserError
from tasks.base.records import ProcessRecord
from tasks.build.containers import oci
from tasks.definitions import addresses

HOST = "127.0.0.1"
FOR_GUESTS = addresses.v4(0, addresses.HOST)
PATIENCE = 15.0  # seconds until it listens
DAYS = "3650"  # that its certificate is good for


class Started(ProcessRecord):
    """The file of a registry that runs: its process, and how it was started."""

    port: int
    tls: bool
    htpasswd: str | None
    program: str


@dataclass(frozen=True)
class Server:
    """The registry in a directory of the workspace."""

    root: Path

    @property
    def state(self) -> Path:
        """pid, start time and how it was started; there as long as it should run."""
        return self.root / "registry.json"

    @property
    def log(self) -> Path:
        """What the program says."""
        return self.root / "registry.log"

    @property
    def certificate(self) -> Path:
        """Its certificate, which is its own CA."""
        return self.root / "cert.pem"

    @property
    def own_program(self) -> Path:
        """The program, where the host has none."""
        return self.root / "docker-registry"

    @property
    def lock(self) -> Path:
        """Held by what starts, stops or changes it."""
        return self.root / "lock"

    @property
    def repositories(self) -> Path:
        """Where the program keeps what it knows of images."""
        return self.root / "data/docker/registry/v2/repositories"

    def running(self) -> dict[str, Any] | None:
        """How it was started, if it runs."""
        started = records.intact(self.state, Started)
        return started.model_dump() if started and started.running else None

    def size(self) -> int:
        """Bytes of all that is stored."""
        return sum(path.stat().st_size for path in (self.root / "data").rglob("*") if path.is_file())


def url(saved: dict[str, Any], host: str = HOST) -> str:
    """Where it is, for the host or for guests."""
    return f"http{'s' if saved['tls'] else ''}://{host}:{saved['port']}"


def start(server: Server, program: str, port: int, *, tls: bool, htpasswd: str | None) -> dict[str, Any]:
    """Start it and wait until it listens. UserError when the port is taken or the program ends."""
    _check_port(port)
    server.root.mkdir(parents=True, exist_ok=True)
    if tls:
        _certify(server)
    config = server.root / "config.yml"
    with files.atomic(config) as temp:
        temp.write_text(_config(server, port, tls, htpasswd))
    server.log.unlink(missing_ok=True)
    # Variables named REGISTRY_* would change its configuration, and podman's are named so too.
    command = ["env", "-i", "PATH=/usr/bin:/bin", "OTEL_TRACES_EXPORTER=none", program, "serve", str(config)]
    registry = helper.Helper("the registry did not start", command, server.state, server.log)
    started = helper.start(
        registry,
        lambda _: _listens(port),
        lambda mark: Started.at(mark, port=port, tls=tls, htpasswd=htpasswd, program=program),
        patience=PATIENCE,
    )
    return started.model_dump()


def stop(server: Server) -> bool:
    """End it; whether it ran."""
    saved = server.running()
    records.end(server.state)
    server.state.unlink(missing_ok=True)
    return saved is not None


def images(server: Server) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of all that is stored."""
    for link in sorted(server.repositories.glob("**/_manifests/tags/*/current/link")):
        repository = link.parents[4].relative_to(server.repositories)
        yield str(repository), link.parents[1].name, link.read_text().strip()


def size_of(server: Server, digest: str) -> int:
    """Bytes of the blobs of an image."""
    value = digest.removeprefix("sha256:")
    blob = server.root / f"data/docker/registry/v2/blobs/sha256/{value[:2]}/{value}/data"
    return oci.Manifest.of(oci.parsed(blob.read_bytes(), digest), digest).size


def remove(server: Server, repository: str, tag: str) -> bool:
    """Forget a tag; whether it was there. `collect` gives the space back."""
    folder = server.repositories / repository / "_manifests" / "tags" / tag
    if not folder.is_dir():
        return False
    files.remove(folder)
    if not any(folder.parent.iterdir()):
        _remove_repository(server, server.repositories / repository)
    return True


def _remove_repository(server: Server, path: Path) -> None:
    """And the directories above it that have no other; another one may be below it."""
    for part in ("_manifests", "_layers", "_uploads"):
        files.remove(path / part)
    while path != server.repositories and not any(path.iterdir()):
        path.rmdir()
        path = path.parent


def collect(server: Server) -> None:
    """Remove blobs that no image needs. A registry that runs is stopped meanwhile, and keeps its port."""
    saved = server.running()
    program = str((saved or {}).get("program") or proc.find("docker-registry") or server.own_program)
    config = server.root / "config.yml"
    if not config.is_file() or not Path(program).is_file():
        return
    stop(server)
    try:
        command = ["env", "-i", "PATH=/usr/bin:/bin", program, "garbage-collect", "-m", str(config)]
        proc.run(command, log=server.root / "collect.log")
    finally:
        if saved:
            start(server, program, saved["port"], tls=saved["tls"], htpasswd=saved["htpasswd"])


def keep_program(server: Server, source: Path) -> Path:
    """A copy of the program that can be run."""
    with files.atomic(server.own_program) as temp:
        shutil.copyfile(source, temp)
        temp.chmod(0o755)
    return server.own_program


def _config(server: Server, port: int, tls: bool, htpasswd: str | None) -> str:
    lines = [
        "version: 0.1",
        "log: {level: warn, accesslog: {disabled: true}}",
        "storage:",
        f"  filesystem: {{rootdirectory: '{_quoted(server.root / 'data')}'}}",
        "  delete: {enabled: true}",
        "  cache: {blobdescriptor: inmemory}",
        "http:",
        f"  secret: {secrets.token_hex(16)}",
        f"  addr: {HOST}:{port}",
    ]
    if tls:
        key = _quoted(server.root / "key.pem")
        lines.append(f"  tls: {{certificate: '{_quoted(server.certificate)}', key: '{key}'}}")
    if htpasswd:
        lines.append(f"auth: {{htpasswd: {{realm: registry, path: '{_quoted(Path(htpasswd))}'}}}}")
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _certify(server: Server) -> None:
    if server.certificate.is_file():
        return
    names = f"subjectAltName=IP:{HOST},IP:{FOR_GUESTS},DNS:localhost"
    with files.atomic(server.certificate) as cert, files.atomic(server.root / "key.pem") as key:
        proc.run([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", key, "-out", cert, "-days", DAYS, "-subj", "/CN=xcluster private registry",
            "-addext", names,
        ])  # fmt: skip
        key.chmod(0o600)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {HOST}:{port} cannot be used: {error.strerror}",
                "end the program that uses it, or choose another port: xc registry start --port=5001",
            ) from error


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
