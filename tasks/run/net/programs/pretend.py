"""A pretended internet: one address that answers http, for every node, through its net 0.

    python pretend.py ADDRESS
    python pretend.py ADDRESS HOST NAME...

Where ADDRESS is one of this host's, a server at its port 80 is all. Elsewhere frames of each NAME come as in
wire.py. What a node sends to ADDRESS, port 80, goes to an http server of ours at a port of HOST instead,
which is how the node sees the host's loopback; answers come back from ADDRESS. No privilege is needed for
port 80, and routers see an address that is on none of their nets.
"""

import http.server
import ipaddress
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))  # it runs in isolated mode

from tasks.run.net.programs.wire import Wire, connected, run  # noqa: E402

HTTP = 80
TCP = 6
ETHERNET, IPV4 = 14, b"\x08\x00"
PLAIN = {"delay": 0.0, "jitter": 0.0, "loss": 0.0, "rate": 0.0, "limit": 100_000}


class Page(http.server.BaseHTTPRequestHandler):
    """One page for every host and path."""

    def do_GET(self) -> None:
        """The page."""
        self.do_HEAD()
        self.wfile.write(self.page())

    def do_HEAD(self) -> None:
        """Its head."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(self.page())))
        self.end_headers()

    def page(self) -> bytes:
        """The page that every site has."""
        return f"This is not {self.headers.get('Host', 'the internet')}.\n".encode()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: nobody reads it."""


class Translated(Wire):
    """A direction in which one address and port, of the target or the sender, becomes another."""

    def __init__(self, wire: Wire, old: tuple[str, int], new: tuple[str, int], *, target: bool) -> None:
        super().__init__(wire.settings, wire.source, wire.target)
        self.old = _packed(*old)
        self.new = _packed(*new)
        self.target_end = target

    def put(self, frame: bytes, now: float) -> None:
        """Send one frame on."""
        super().put(translated(frame, self.old, self.new, target=self.target_end), now)


def translated(frame: bytes, old: bytes, new: bytes, *, target: bool) -> bytes:
    """A frame, behind its length, in which address and port `old` are `new`; others stay as they are."""
    ip = 4 + ETHERNET
    if frame[ip - 2 : ip] != IPV4 or len(frame) < ip + 40 or frame[ip + 9] != TCP:
        return frame
    tcp = ip + (frame[ip] & 15) * 4
    address, port = ip + (16 if target else 12), tcp + (2 if target else 0)
    if len(frame) < tcp + 20 or frame[address : address + 4] + frame[port : port + 2] != old:
        return frame
    changed = bytearray(frame)
    changed[address : address + 4] = new[:4]
    changed[port : port + 2] = new[4:]
    for at, before, after in ((ip + 10, old[:4], new[:4]), (tcp + 16, old, new)):
        (checksum,) = struct.unpack_from(">H", frame, at)
        struct.pack_into(">H", changed, at, _updated(checksum, before, after))
    return bytes(changed)


def _updated(checksum: int, old: bytes, new: bytes) -> int:
    """An internet checksum after words of what it covers changed (RFC 1624)."""
    total = ~checksum & 0xFFFF
    for before, after in zip(struct.iter_unpack(">H", old), struct.iter_unpack(">H", new), strict=True):
        total += (~before[0] & 0xFFFF) + after[0]
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _packed(address: str, port: int) -> bytes:
    return ipaddress.IPv4Address(address).packed + struct.pack(">H", port)


def here(address: str) -> None:
    """Serve at an address of this host."""
    http.server.ThreadingHTTPServer((address, HTTP), Page).serve_forever()


def main(address: str, host: str, names: list[str]) -> None:
    """Serve, and carry the nodes' frames, until the last node is gone."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    outside, inside = (address, HTTP), (host, server.server_port)
    plain = connected([(name, {"out": PLAIN, "in": PLAIN}) for name in names])
    wires: list[Wire] = [Translated(wire, outside, inside, target=True) for wire in plain[::2]]
    wires += [Translated(wire, inside, outside, target=False) for wire in plain[1::2]]
    run(wires)


if __name__ == "__main__":
    socket.setdefaulttimeout(30)
    if sys.argv[2:]:
        main(sys.argv[1], sys.argv[2], sys.argv[3:])
    else:
        here(sys.argv[1])
