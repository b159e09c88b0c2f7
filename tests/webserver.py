"""A server on loopback that can be made to behave badly, and a proxy that requires a password."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Server:
    """Serves `body` at every path but those in `does`; notes what it is asked."""

    body: bytes
    url: str = ""
    etag: str = '"one"'
    does: "dict[str, Callable[[Handler], None]]" = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)  # path and Range of each request
    sent: int = 0  # bytes of bodies
    chunk: int = 1 << 16
    pause: float = 0.0  # seconds after each chunk
    ranges: bool = True
    conditions: bool = True  # knows If-Range
    connect: int = 501  # the answer to CONNECT, which a proxy is asked for https


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Serve, or do as the path is set to."""
        state = self.state
        state.requests.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        special = next((act for path, act in state.does.items() if self.path.startswith(path)), None)
        try:
            (special or Handler.good)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_CONNECT(self) -> None:
        """No tunnels here."""
        self.state.requests.append(f"CONNECT {self.path}")
        self.reply(self.state.connect)

    def start(self) -> int:
        """Where the asked range begins; 0 for all."""
        state = self.state
        range_header = self.headers.get("Range", "") if state.ranges else ""
        changed = state.conditions and self.headers.get("If-Range", state.etag) != state.etag
        return 0 if changed or not range_header else int(range_header.removeprefix("bytes=").rstrip("-"))

    def good(self, until: int | None = None, length: int | None = None) -> None:
        """All of it, or up to byte `until` and no further, though `length` is promised."""
        body, start = self.state.body, self.start()
        if start >= len(body) > 0:
            self.reply(416, headers={"Content-Range": f"bytes */{len(body)}"})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.state.etag:
            self.send_header("ETag", self.state.etag)
        self.send_header("Content-Length", str(len(body) - start if length is None else length))
        self.end_headers()
        self.stream(body[start:until])
        if until is not None:
            self.close_connection = True

    def stream(self, body: bytes) -> None:
        """The bytes, in pieces."""
        for at in range(0, len(body), self.state.chunk):
            piece = body[at : at + self.state.chunk]
            self.wfile.write(piece)
            self.state.sent += len(piece)
            if self.state.pause:
                time.sleep(self.state.pause)

    def reply(self, code: int, body: bytes = b"", headers: Mapping[str, str] = {}) -> None:  # noqa: B006
        """A short answer."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(body: bytes) -> Iterator[Server]:
    """A server, for the length of a block."""
    state = Server(body)
    handler = type("Bound", (Handler,), {"state": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield state
        server.shutdown()


def dropping(times: int, step: int) -> Callable[[Handler], None]:
    """Breaks off after `step` bytes, so many times."""
    left = [times]

    def act(handler: Handler) -> None:
        if left[0] <= 0:
            handler.good()
            return
        left[0] -= 1
        handler.good(until=handler.start() + step)

    return act
