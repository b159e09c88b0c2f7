"""Certificates of Kubernetes: whom they convince, what openssl says, and that they come out the same."""

import base64
import datetime
import os
import socket
import ssl
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from tasks.base import files
from tasks.base.paths import Workspace
from tasks.build.credentials import guest_files, keys, pki
from tasks.build.credentials.keys import Secret
from tests.conftest import Checkout

SECRET = Secret(b"s" * 32, datetime.datetime.now(datetime.UTC).year - 1)
PKI = "etc/kubernetes/pki"


@pytest.fixture(scope="module")
def credentials() -> Mapping[str, guest_files.File]:
    """The files of a small cluster."""
    return {file.path: file for file in guest_files.layout(SECRET, "fd00:", 3, ipv6=False)}


@pytest.fixture(scope="module")
def guest(credentials: Mapping[str, guest_files.File], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as files."""
    root = tmp_path_factory.mktemp("guest")
    for path, file in credentials.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(file.data)
    return root


def config(credentials: Mapping[str, guest_files.File], name: str) -> dict[str, Any]:
    """A kubeconfig, read as kubectl would."""
    content: dict[str, Any] = yaml.safe_load(credentials[f"etc/kubernetes/{name}.conf"].data)
    return content


def certificate(data: bytes) -> x509.Certificate:
    """A certificate from PEM."""
    return x509.load_pem_x509_certificate(data)


def handshake(guest: Path, server: str, client: tuple[Path, Path] | None, name: str) -> Any:
    """What a server that asks for certificates sees of a client; ssl.SSLError when one refuses the other."""
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(guest / PKI / "ca.crt"))
    ours.verify_mode = ssl.CERT_REQUIRED
    ours.load_cert_chain(guest / f"{server}.crt", guest / f"{server}.key")
    theirs = ssl.create_default_context(cafile=str(guest / PKI / "ca.crt"))
    if client:
        theirs.load_cert_chain(*client)
    near, far = socket.socketpair()
    seen: list[Any] = []

    def serve() -> None:
        try:
            with ours.wrap_socket(near, server_side=True) as link:
                seen.append(link.getpeercert())
                link.sendall(b"x")
        except (ssl.SSLError, OSError) as error:
            seen.append(error)
            near.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with theirs.wrap_socket(far, server_hostname=name) as link:
            assert link.recv(1) == b"x"
    finally:
        far.close()
        thread.join(10)
    return seen[0]


def subject(seen: Mapping[str, Any]) -> dict[str, str]:
    """The distinguished name in what ssl says of a peer."""
    return {key: value for part in seen["subject"] for key, value in part}


def client(credentials: Mapping[str, guest_files.File], name: str, folder: Path) -> tuple[Path, Path]:
    """The certificate and key in a kubeconfig, as files."""
    (user,) = config(credentials, name)["users"]
    paths = folder / "client.crt", folder / "client.key"
    for path, kind in zip(paths, ("client-certificate-data", "client-key-data"), strict=True):
        path.write_bytes(base64.b64decode(user["user"][kind]))
    return paths


@pytest.mark.parametrize(
    ("name", "user", "group"),
    [
        ("admin", "kubernetes-admin", "system:masters"),
        ("controller-manager", "system:kube-controller-manager", None),
        ("scheduler", "system:kube-scheduler", None),
        ("kube-proxy", "system:kube-proxy", None),
        ("nodes/vm-003", "system:node:vm-003", "system:nodes"),
    ],
)
def test_each_client_is_who_it_should_be(
    credentials: Mapping[str, guest_files.File],
    guest: Path,
    tmp_path: Path,
    name: str,
    user: str,
    group: str | None,
) -> None:
    seen = handshake(guest, f"{PKI}/apiserver", client(credentials, name, tmp_path), "localhost")
    assert subject(seen)["commonName"] == user
    assert subject(seen).get("organizationName") == group


@pytest.mark.parametrize(
    "name",
    [
        "localhost", "127.0.0.1", "::1", "192.168.0.1", "192.168.1.1", "fd00::192.168.1.1",
        "fd00::192.168.0.1", "vm-001", "12.0.0.1", "fd00:4000::1", "kubernetes", "kubernetes.default",
        "kubernetes.default.svc", "kubernetes.default.svc.xcluster",
    ],
)  # fmt: skip
def test_the_api_server_has_every_name(
    credentials: Mapping[str, guest_files.File], guest: Path, tmp_path: Path, name: str
) -> None:
    handshake(guest, f"{PKI}/apiserver", client(credentials, "admin", tmp_path), name)


def test_the_api_server_has_no_other_name(
    credentials: Mapping[str, guest_files.File], guest: Path, tmp_path: Path
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="vm-002"):
        handshake(guest, f"{PKI}/apiserver", client(credentials, "admin", tmp_path), "vm-002")


@pytest.mark.parametrize("name", ["vm-002", "192.168.1.2", "fd00::192.168.1.2", "192.168.0.2"])
def test_a_kubelet_is_reached_by_name_and_address(guest: Path, name: str) -> None:
    own = f"{PKI}/apiserver-kubelet-client"
    seen = handshake(guest, "etc/kubernetes/nodes/vm-002", (guest / f"{own}.crt", guest / f"{own}.key"), name)
    assert subject(seen)["organizationName"] == "system:masters"


def test_nobody_comes_in_without_a_certificate(guest: Path) -> None:
    with pytest.raises((ssl.SSLError, AssertionError, ConnectionError)):
        handshake(guest, f"{PKI}/apiserver", None, "localhost")


def test_the_front_proxys_authority_is_another_one(guest: Path) -> None:
    own = guest / PKI / "front-proxy-client.crt", guest / PKI / "front-proxy-client.key"
    with pytest.raises((ssl.SSLError, AssertionError, ConnectionError)):
        handshake(guest, f"{PKI}/apiserver", own, "localhost")


def test_a_server_is_no_client(guest: Path) -> None:
    own = guest / f"{PKI}/apiserver.crt", guest / f"{PKI}/apiserver.key"
    with pytest.raises((ssl.SSLError, AssertionError, ConnectionError)):
        handshake(guest, f"{PKI}/apiserver", own, "localhost")


@pytest.mark.parametrize(
    ("authority", "purpose", "which"),
    [
        ("ca", "sslserver", "pki/apiserver"),
        ("ca", "sslserver", "nodes/vm-001"),
        ("ca", "sslclient", "pki/apiserver-kubelet-client"),
        ("front-proxy-ca", "sslclient", "pki/front-proxy-client"),
    ],
)
def test_openssl_agrees(guest: Path, authority: str, purpose: str, which: str) -> None:
    words = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", f"{authority}.crt"]
    done = subprocess.run(
        [*words, f"../{which}.crt"], cwd=guest / PKI, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_key_of_service_accounts_is_a_pair(guest: Path) -> None:
    words = ["openssl", "ec", "-in", "sa.key", "-pubout"]
    done = subprocess.run(words, cwd=guest / PKI, capture_output=True, check=True)
    assert done.stdout == (guest / PKI / "sa.pub").read_bytes()


def test_keys_are_for_their_owner_alone_and_all_differ(credentials: Mapping[str, guest_files.File]) -> None:
    private = {
        path: file
        for path, file in credentials.items()
        if b"PRIVATE KEY" in file.data or b"client-key" in file.data
    }
    assert {path for path in credentials if path.endswith((".key", ".conf"))} == set(private)
    assert {oct(file.mode) for file in private.values()} == {"0o600"}
    assert len({file.data for file in private.values()}) == len(private)
    serials = [
        certificate(file.data).serial_number for path, file in credentials.items() if path.endswith(".crt")
    ]
    assert len(set(serials)) == len(serials)


def test_good_for_years_and_from_the_past(credentials: Mapping[str, guest_files.File]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for path in (f"{PKI}/ca.crt", f"{PKI}/apiserver.crt", "etc/kubernetes/nodes/vm-001.crt"):
        issued = certificate(credentials[path].data)
        assert issued.not_valid_before_utc < now - datetime.timedelta(days=300)
        assert issued.not_valid_after_utc > now + datetime.timedelta(days=8 * 365)


def test_the_same_secret_gives_the_same_bytes(credentials: Mapping[str, guest_files.File]) -> None:
    again = {file.path: file for file in guest_files.layout(SECRET, "fd00:", 3, ipv6=False)}
    assert again == dict(credentials)
    other = {
        file.path: file.data
        for file in guest_files.layout(Secret(b"o" * 32, SECRET.year), "fd00:", 3, ipv6=False)
    }
    assert not set(other.values()) & {file.data for file in credentials.values()}


def test_one_node_more_changes_nothing_of_the_others(credentials: Mapping[str, guest_files.File]) -> None:
    more = {file.path: file for file in guest_files.layout(SECRET, "fd00:", 4, ipv6=False)}
    assert {path: more[path] for path in credentials} == dict(credentials)


@pytest.mark.parametrize(
    ("prefix", "ipv6", "server"),
    [
        ("fd00:", False, "https://192.168.1.1:6443"),
        ("fd00:", True, "https://[fd00::192.168.1.1]:6443"),
        ("1000::1", True, "https://[1000::1:192.168.1.1]:6443"),
    ],
)
def test_where_nodes_find_the_api(prefix: str, ipv6: bool, server: str) -> None:
    credentials = {file.path: file for file in guest_files.layout(SECRET, prefix, 1, ipv6=ipv6)}
    for name in ("admin", "nodes/vm-001"):
        (cluster,) = config(credentials, name)["clusters"]
        assert cluster["cluster"]["server"] == server


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "k8s" / "c" / "secret.json"
    first = keys.secret(path)
    assert keys.secret(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_secret_whose_certificates_end_soon_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    old = {"secret": "00" * 32, "year": SECRET.year + 1 - keys.YEARS}
    keys.put(path, old)
    assert keys.secret(path).year == SECRET.year
    keys.put(path, {**old, "year": SECRET.year + 3 - keys.YEARS})
    assert keys.secret(path).value == bytes(32)


def test_the_tar_is_as_private_as_the_secret(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    pki.write(workspace, "c", ("fd00:", 2, False), 0)
    tar = workspace.credentials("c")
    first = tar.read_bytes()
    assert stat.S_IMODE(tar.stat().st_mode) == 0o600
    pki.write(workspace, "c", ("fd00:", 2, False), 0)
    assert tar.read_bytes() == first
    with tarfile.open(tar) as opened:
        modes = {member.name: member.mode for member in opened}
    assert modes[f"{PKI}/ca.key"] == modes["etc/kubernetes/admin.conf"] == 0o600
    assert modes[f"{PKI}/ca.crt"] == 0o644


def test_a_cluster_with_kubernetes_has_them_last_on_its_iso(checkout: Checkout) -> None:
    image = "summary: an image\npackages: [libc6]\nkubernetes: true\n"
    checkout.write("images/base/image.yaml", image)
    checkout.good("mkcdrom", "a", "b")
    record = files.read_json(checkout.workspace / "iso" / "xcluster.json")
    assert record["content"] == ["00a.tar", "01b.tar", "02kubernetes-credentials.tar"]
    assert stat.S_IMODE(checkout.iso.stat().st_mode) == 0o600
    assert checkout.good("mkcdrom", "a", "b").tasks == set()
    secret = checkout.workspace / "k8s" / "xcluster" / "secret.json"
    keys.put(secret, {"secret": "11" * 32, "year": SECRET.year})  # as a checkpoint does
    assert checkout.good("mkcdrom", "a", "b").tasks == {"pki", "mkcdrom"}
    assert checkout.good("mkcdrom").tasks == {"mkcdrom"}, "without overlays they are still on it"
    checkout.write("images/base/image.yaml", image.replace("kubernetes: true\n", ""))
    checkout.good("mkcdrom", "a")
    record = files.read_json(checkout.workspace / "iso" / "xcluster.json")
    assert record["content"] == ["00a.tar"]
    assert stat.S_IMODE(checkout.iso.stat().st_mode) != 0o600


TASKS = """
import sys
sys.argv = ["xc", *sys.argv[1:]]
import dodo
from tasks.build.overlay import iso
from tasks.build.credentials import pki
for task in [*pki.tasks(dodo.project), *iso.tasks(dodo.project, dodo.chosen, dodo.parts)]:
    print(*task["file_dep"], *task["targets"], task["meta"]["recipe"].args)
"""


@pytest.mark.parametrize(("words", "private"), [(["starts"], True), (["release"], False)])
def test_a_release_has_none(checkout: Checkout, words: list[str], private: bool) -> None:
    checkout.write("images/base/image.yaml", "summary: an image\npackages: [libc6]\nkubernetes: true\n")
    done = subprocess.run(
        [sys.executable, "-c", TASKS, *words], cwd=checkout.root, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(checkout.root)},
    )  # fmt: skip
    assert "xcluster.iso" in done.stdout
    assert ("workspace/k8s" in done.stdout) == private
