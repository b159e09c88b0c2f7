"""A bad wire between a NIC and its net: frames come late, slowly, or not at all.

    python wire.py NAME SETTINGS

SETTINGS is JSON: for each direction that goes through us, `out` or `in`, the delay and jitter in seconds,
the loss (0 to 1), the rate in bits a second (0: any) and the limit, how many frames may wait. For each
direction QEMU's filter-redirector connects to two unix sockets: NAME.out.from has the frames, and NAME.out.to
takes them back. A frame is its length (4 bytes, big endian) and itself. Runs by itself, on the standard
library alone, and ends when QEMU does.
"""

import collections
import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

READ = 1 << 18  # bytes at most per turn
WAITING = 4 << 20  # bytes that may wait for QEMU to take them
PATIENCE = 20.0  # seconds for QEMU to connect


class Wire:
    """One direction."""

    def __init__(self, settings: dict[str, Any], source: socket.socket, target: socket.socket) -> None:
        self.settings = settings
        self.source = source
        self.target = target
        self.received = bytearray()
        self.on_the_way: collections.deque[tuple[float, bytes]] = collections.deque()
        self.sending = bytearray()
        self.free = 0.0  # when the last frame has left the sender
        self.last = 0.0  # when the last frame arrives: none overtakes another

    def take(self, data: bytes, now: float) -> None:
        """Frames from QEMU: decide when each arrives."""
        self.received += data
        at = 0
        while len(self.received) - at >= 4:
            (length,) = struct.unpack_from(">I", self.received, at)
            if len(self.received) - at - 4 < length:
                break
            self.put(bytes(self.received[at : at + 4 + length]), now)
            at += 4 + length
        del self.received[:at]

    def put(self, frame: bytes, now: float) -> None:
        """Send one frame, with its length, on its way."""
        wanted = self.settings
        if random.random() < wanted["loss"] or len(self.on_the_way) >= wanted["limit"]:
            return
        self.free = max(now, self.free)
        if wanted["rate"]:
            self.free += (len(frame) - 4) * 8 / wanted["rate"]
        late = wanted["delay"] + random.uniform(-1, 1) * wanted["jitter"]
        self.last = max(self.last, self.free + max(late, 0))
        self.on_the_way.append((self.last, frame))

    def arrived(self, now: float) -> None:
        """Give QEMU what is due."""
        while self.on_the_way and self.on_the_way[0][0] <= now:
            frame = self.on_the_way.popleft()[1]
            if len(self.sending) < WAITING:
                self.sending += frame

    def wait(self, now: float) -> float | None:
        """Seconds until the next frame is due."""
        return max(0.0, self.on_the_way[0][0] - now) if self.on_the_way else None

    def flush(self) -> None:
        """Send as much as QEMU takes. Raises OSError when it is gone."""
        try:
            sent = self.target.send(self.sending) if self.sending else 0
        except BlockingIOError:
            sent = 0
        del self.sending[:sent]


def listener(path: Path) -> socket.socket:
    """A unix socket that only this user can connect to."""
    path.unlink(missing_ok=True)
    hidden = path.with_name(f".{path.name}")
    hidden.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(PATIENCE)
    made.bind(str(hidden))
    hidden.chmod(0o600)
    made.listen(1)
    hidden.rename(path)  # who finds it can connect
    return made


def connected(name: str, settings: dict[str, Any]) -> list[Wire]:
    """Wait for QEMU to connect every direction; the sockets' names are gone then."""
    doors = [(way, [Path(f"{name}.{way}.{end}") for end in ("from", "to")]) for way in settings]
    listeners = {path: listener(path) for _, paths in doors for path in paths}
    links: dict[Path, socket.socket] = {}
    try:
        for path, door in listeners.items():
            links[path] = door.accept()[0]
            links[path].setblocking(False)
    finally:
        for path, door in listeners.items():
            door.close()
            path.unlink(missing_ok=True)
    return [Wire(settings[way], links[source], links[target]) for way, (source, target) in doors]


def run(wires: list[Wire]) -> None:
    """Carry frames until QEMU closes a connection."""
    selector = selectors.DefaultSelector()
    for wire in wires:
        selector.register(wire.source, selectors.EVENT_READ, wire)
        selector.register(wire.target, selectors.EVENT_READ, wire)
    while True:
        now = time.monotonic()
        waits = [wait for wire in wires if (wait := wire.wait(now)) is not None]
        for key, events in selector.select(min(waits, default=None)):
            wire = key.data
            if events & selectors.EVENT_READ:
                data = key.fileobj.recv(READ)  # type: ignore[union-attr]
                if not data:
                    return
                if key.fileobj is wire.source:
                    wire.take(data, time.monotonic())
        for wire in wires:
            wire.arrived(time.monotonic())
            wire.flush()
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if wire.sending else 0)
            if selector.get_key(wire.target).events != wanted:
                selector.modify(wire.target, wanted, wire)


if __name__ == "__main__":
    try:
        run(connected(sys.argv[1], json.loads(sys.argv[2])))
    except OSError:  # QEMU is gone
        os._exit(0)
