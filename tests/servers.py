"""Servers on loopback that answer with given bytes, stall, dribble, or speak TLS with a bad certificate."""

import datetime
import http.server
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OK = b"HTTP/1.1 200 OK\r\n"
SILENT, RESET = object(), object()  # in place of an answer


def listening(answer: object, *, pause: float = 0, stay: bool = False) -> str:
    """A server that gives every connection these bytes, one at a time with a `pause`; its HOST:PORT."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            link, _ = server.accept()
            threading.Thread(target=_answer, args=[link, answer, pause, stay], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{server.getsockname()[1]}"


def _answer(link: socket.socket, answer: object, pause: float, stay: bool) -> None:
    try:
        if answer is not SILENT:
            link.recv(1 << 16)
        if answer is RESET:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif isinstance(answer, bytes):
            for piece in (bytes([byte]) for byte in answer) if pause else [answer]:
                link.sendall(piece)
                time.sleep(pause)
        while stay or answer is SILENT:
            time.sleep(1)
        link.close()
    except OSError:
        pass


def certificate(folder: Path, host: str, *, days: tuple[int, int] = (-1, 1)) -> tuple[Path, Path]:
    """A certificate that signs itself, valid from and until so many days from now, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    begin, end = (now + datetime.timedelta(days=each) for each in days)
    new = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(begin).not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "server.pem", folder / "server.key"
    folder.mkdir(parents=True, exist_ok=True)
    paths[0].write_bytes(new.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return paths


Reply = tuple[int, Mapping[str, str], bytes]


@dataclass
class Web:
    """A server of HTTP whose answers are a function of method, path and headers."""

    act: Callable[["Web", str, str, Mapping[str, str]], Reply]
    requests: list[str] = field(default_factory=list)
    port: int = 0
    tls: bool = False
    bodies: list[bytes] = field(default_factory=list)

    @property
    def host(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"


def web(
    act: Callable[[Web, str, str, Mapping[str, str]], Reply], tls: tuple[Path, Path] | None = None
) -> Web:
    """Start it; it ends with the tests."""
    state = Web(act, tls=tls is not None)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            """Whatever is asked."""
            state.requests.append(f"{self.command} {self.path}")
            length = int(self.headers.get("Content-Length", 0))
            state.bodies.append(self.rfile.read(length) if length else b"")
            status, headers, body = state.act(state, self.command, self.path, dict(self.headers))
            self.send_response(status)
            for name, value in headers.items():
                for each in value.split("\n"):
                    self.send_header(name, each)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_PUT = do_CONNECT = do_GET  # noqa: N815  the names that the base class asks for

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is no news."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_port
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    return state


def as_json(value: object, **headers: str) -> Reply:
    """An answer 200."""
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


def head(lines: Iterable[str], status: str = "200 OK") -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()
