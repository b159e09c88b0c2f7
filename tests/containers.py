"""Container images and real registries for tests, and a server before one that misbehaves when told to."""

import gzip
import hashlib
import http.client
import http.server
import io
import json
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.base import files, locks
from tasks.base.paths import Workspace
from tasks.build.containers import oci, registry, registry_api, registry_server
from tasks.build.containers.registry_places import Mirror
from tasks.build.containers.registry_server import Server
from tasks.project.site import Site
from tests.boot.conftest import Cluster
from tests.conftest import ROOT
from tests.ports import free_port

PASSWORD = "secret"  # the user is `me`
HTPASSWD = "me:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
REGISTRY = Site(Workspace.find(ROOT, {}), "bookworm")


def program() -> str:
    """Debian's docker-registry, as the project gets it; no more than that is left in the workspace."""
    server, workspace = Server(REGISTRY.workspace.registry), REGISTRY.workspace
    with locks.locked(server.lock):
        path = registry.program(server, REGISTRY)
        stamp = workspace.stamp("artifact", "docker-registry")
        if stamp.is_file():
            workspace.content(str(files.read_json(stamp)["sha256"])).unlink(missing_ok=True)
            stamp.unlink()
        for folder in ("apt/*/cache/archives/docker-registry_*.deb", "member/docker-registry-*"):
            for leftover in (workspace.root / "cache").glob(folder):
                leftover.unlink()
    return path


def tar(*entries: tarfile.TarInfo | tuple[str, str]) -> bytes:
    """A tar of entries, or of files given by path and content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size = len(entry[1].encode())
            archive.addfile(info, io.BytesIO(entry[1].encode()))
    return out.getvalue()


def image(layout: oci.Layout, *layers: bytes, arch: str = "amd64", media: str = oci.MANIFEST) -> str:
    """An image of compressed layers, given as tars; the digest of its manifest."""
    blobs = [gzip.compress(layer, mtime=0) for layer in layers]
    ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = json.dumps(
        {"architecture": arch, "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}, "config": {}}
    ).encode()
    docker = media == oci.DOCKER_MANIFEST
    kinds = (
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    )
    config_kind, layer_kind = kinds if docker else (oci.CONFIG, f"{oci.LAYER}+gzip")
    manifest = {
        "schemaVersion": 2,
        "mediaType": media,
        "config": {"mediaType": config_kind, "digest": layout.put(config), "size": len(config)},
        "layers": [
            {"mediaType": layer_kind, "digest": layout.put(blob), "size": len(blob)} for blob in blobs
        ],
    }
    return layout.put(json.dumps(manifest).encode())


def index(layout: oci.Layout, **by_arch: str) -> str:
    """An index of manifests by architecture; its digest."""
    manifests = [
        {
            "mediaType": oci.MANIFEST,
            "digest": digest,
            "size": layout.blob(digest).stat().st_size,
            "platform": {"os": "linux", "architecture": arch},
        }
        for arch, digest in by_arch.items()
    ]
    return layout.put(
        json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": manifests}).encode()
    )


@dataclass
class Front:
    """A server before the registry; what is asked of it is noted, and it can be told to misbehave."""

    port: int
    behind: int
    requests: list[str] = field(default_factory=list)  # method, path and range
    cut: int = 0  # so many answers with a layer are cut in the middle
    dead: bool = False  # after these, layers break before their first byte
    wrong: bool = False  # layers have other bytes than they should
    delay: float = 0.0  # seconds before each piece of a layer
    token: str = ""  # this has to be fetched from /token, by `me`, and shown

    def layers(self) -> list[str]:
        """The requests for blobs."""
        return [line for line in self.requests if "/blobs/" in line]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def do_GET(self) -> None:
        """Ask the registry, and pass on what it says."""
        front = self.front
        front.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        if front.token and self.path.startswith("/token"):
            self._answer(200, json.dumps({"token": front.token}).encode(), {})
        elif front.token and self.headers.get("Authorization") != f"Bearer {front.token}":
            realm = f"http://127.0.0.1:{front.port}/token"
            challenge = f'Bearer realm="{realm}",service="s",scope="repository:x:pull"'
            self._answer(401, b"{}", {"WWW-Authenticate": challenge})
        else:
            self._pass_on()

    do_HEAD = do_GET

    def _pass_on(self) -> None:
        kept = ("Accept", "Range", "Authorization")
        headers = {name: self.headers[name] for name in kept if name in self.headers}
        link = http.client.HTTPConnection("127.0.0.1", self.front.behind)
        link.request(self.command, self.path, headers=headers)
        reply = link.getresponse()
        passed = ("Content-Type", "Docker-Content-Digest", "WWW-Authenticate", "Content-Range")
        headers = {name: reply.headers[name] for name in passed if name in reply.headers}
        self._answer(reply.status, reply.read(), headers)
        link.close()

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if "/blobs/" in self.path and status in (200, 206):
            self._layer(body)
        else:
            self.wfile.write(body)

    def _layer(self, body: bytes) -> None:
        front = self.front
        if front.wrong:
            body = bytes(255 - byte for byte in body)
        cut = front.cut > 0 and len(body) > 1000
        if cut:
            front.cut -= 1
            body = body[: len(body) // 2]
        elif front.dead and len(body) > 1000:
            cut, body = True, b""
        for at in range(0, len(body), 20000):
            time.sleep(front.delay)
            self.wfile.write(body[at : at + 20000])
        if cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def front(behind: int) -> Iterator[Front]:
    """Start it; it listens on loopback."""
    handler = type("Handler", (_Handler,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        front = handler.front = Front(server.server_port, behind)  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield front
        server.shutdown()


@dataclass(frozen=True)
class Hub:
    """A registry that runs, and images to put into it."""

    server: Server
    port: int
    layout: oci.Layout
    secret: bool = False

    def push(self, name: str, digest: str, *others: str) -> str:
        """Put an image under NAME:TAG, `others` (what an index names) before it; its digest."""
        repository, _, tag = name.rpartition(":")
        place = Mirror(f"http://127.0.0.1:{self.port}", repository, ("hub", repository))
        for other in others:
            registry.push(self.layout, place, other, other)
        if others:
            data = self.layout.blob(digest).read_bytes()
            registry_api.at([place], name, lambda there: there.push_manifest(tag, data))
        else:
            registry.push(self.layout, place, tag, digest)
        return digest


@contextmanager
def hub(folder: Path, **options: Any) -> Iterator[Hub]:
    """Start a registry below `folder`."""
    server, port = Server(folder / "hub"), free_port()
    registry_server.start(server, program(), port, tls=False, htpasswd=options.get("htpasswd"))
    try:
        yield Hub(server, port, oci.Layout(folder / "layout"))
    finally:
        registry_server.stop(server)


@contextmanager
def workspace_registry(door: Cluster) -> Iterator[int]:
    """The port of the private registry of this workspace; one that runs already is left as it is."""
    before = json.loads(door.xc("registry", "status", "-o", "json").stdout)
    if not before["running"]:
        program()
        door.xc("registry", "start", f"--port={free_port()}")
    now = json.loads(door.xc("registry", "status", "-o", "json").stdout)
    yield int(now["url"].rpartition(":")[2])
    if not before["running"]:
        door.xc("registry", "stop")
