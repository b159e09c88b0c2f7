"""Certificate authorities: those of the user and of the host, with a real server and a CA of its own."""

import http.server
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.base.errors import UserError
from tasks.build.sources import trust
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not proc.find("openssl"), reason="openssl is not installed")
SHA = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"  # of "hello\n"
FETCH = """import sys
from pathlib import Path
from tasks.base.errors import UserError
from tasks.build.sources import download
try:
    download.download(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
except UserError as error:
    sys.exit(str(error))
"""


@dataclass(frozen=True)
class Https:
    """A server whose certificate is signed by a CA that nobody else knows."""

    url: str
    ca: Path

    def fetch(self, target: Path, env: dict[str, str], *prefix: str) -> str:
        """Download from it in a process of its own; what went wrong, "" for nothing."""
        target.unlink(missing_ok=True)
        plain = {name: value for name, value in os.environ.items() if name not in trust.VARIABLES}
        words = [*prefix, sys.executable, "-c", FETCH, f"{self.url}/hello", SHA, str(target)]
        whole = {**plain, "PYTHONPATH": str(ROOT), "no_proxy": "localhost", **env}
        done = subprocess.run(words, env=whole, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        assert (done.returncode == 0) == target.exists(), done.stderr
        return done.stderr if done.returncode else ""


class Hello(http.server.BaseHTTPRequestHandler):
    """Says hello."""

    def do_GET(self) -> None:
        """Six bytes."""
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Https]:
    """The server, on loopback."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj")
    openssl(*new, "/CN=ours", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
    openssl(*new, "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl(
        "x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-extfile", "names", "-out", "cert.pem", "-days", "2",
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield Https(f"https://localhost:{server.server_port}", folder / "ca.pem")
        server.shutdown()


def test_an_authority_that_nobody_knows(https: Https, tmp_path: Path) -> None:
    assert "localhost" in https.fetch(tmp_path / "x", {})


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_file_that_a_variable_names(https: Https, tmp_path: Path, name: str) -> None:
    assert https.fetch(tmp_path / "x", {name: str(https.ca)}) == ""


def test_a_directory_that_a_variable_names(https: Https, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(https.ca.read_bytes())
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    assert https.fetch(tmp_path / "x", {"SSL_CERT_DIR": f"/nonexistent:{folder}"}) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
def test_the_store_of_the_host(https: Https, tmp_path: Path) -> None:
    """As `update-ca-certificates` leaves it."""
    store = Path(trust.SYSTEM[0])
    if not store.is_file():
        pytest.skip("this host has its store elsewhere")
    both = tmp_path / "both.crt"
    both.write_bytes(store.read_bytes() + https.ca.read_bytes())
    enter = ("unshare", "--mount", "sh", "-c", f'mount --bind "$0" {store} && exec "$@"', str(both))
    assert https.fetch(tmp_path / "x", {}, *enter) == ""


@pytest.mark.parametrize("name", trust.VARIABLES)
def test_a_variable_that_names_nothing(name: str) -> None:
    with pytest.raises(UserError, match=f"{name}: there is no /not/there"):
        trust.settle({name: "/not/there"})


def test_a_file_without_certificates(https: Https, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("nothing\n")
    reason = https.fetch(tmp_path / "x", {"SSL_CERT_FILE": str(tmp_path / "empty")})
    assert "SSL_CERT_FILE" in reason and "no certificates" in reason
