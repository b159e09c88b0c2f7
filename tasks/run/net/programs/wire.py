"""An impaired link between a NIC and its net: frames come late, slowly, or not at all.

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
        self.sending = bytearray()
        self.begin()

    def begin(self) -> None:
        """Have no frame on the way."""
        self.on_the_way: collections.deque[tuple[float, bytes]] = collections.deque()
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
        settings = self.settings
        if random.random() < settings["loss"] or len(self.on_the_way) >= settings["limit"]:
            return
        self.free = max(now, self.free)
        if settings["rate"]:
            self.free += (len(frame) - 4) * 8 / settings["rate"]
        late = settings["delay"] + random.uniform(-1, 1) * settings["jitter"]
        self.last = max(self.last, self.free + max(late, 0))
        self.on_the_way.append((self.last, frame))

    def arrived(self, now: float) -> None:
        """Deliver what is due."""
        while self.on_the_way and self.on_the_way[0][0] <= now:
            self.deliver(self.on_the_way.popleft()[1])

    def deliver(self, frame: bytes) -> None:
        """Give QEMU a frame, with its length."""
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
    door = socket.socket(socket.AF_UNIX)
    door.settimeout(PATIENCE)
    folder = os.open(path.parent, os.O_PATH)
    try:
        door.bind(f"/proc/self/fd/{folder}/{hidden.name}")  # a socket cannot have a long path
    finally:
        os.close(folder)
    hidden.chmod(0o600)
    door.listen(1)
    hidden.rename(path)  # who finds it can connect
    return door


def connected(impairments: list[tuple[str, dict[str, Any]]]) -> list[Wire]:
    """Wait for QEMU to connect each NAME of `impairments`, by direction; the sockets' names are gone then."""
    ways = [(f"{name}.{way}", each) for name, settings in impairments for way, each in settings.items()]
    listeners = {path: listener(path) for name, _ in ways for path in _ends(name)}
    links: dict[Path, socket.socket] = {}
    try:
        for path, door in listeners.items():
            links[path] = door.accept()[0]
            links[path].setblocking(False)
    finally:
        for path, door in listeners.items():
            door.close()
            path.unlink(missing_ok=True)
    return [Wire(settings, *(links[path] for path in _ends(name))) for name, settings in ways]


def _ends(name: str) -> tuple[Path, Path]:
    return Path(f"{name}.from"), Path(f"{name}.to")


def run(wires: list[Wire]) -> None:
    """Carry frames until QEMU has closed all connections."""
    selector = selectors.DefaultSelector()
    for wire in wires:
        selector.register(wire.source, selectors.EVENT_READ, wire)
        selector.register(wire.target, selectors.EVENT_READ, wire)
    whole = set(wires)
    while whole:
        now = time.monotonic()
        waits = [wait for wire in whole if (wait := wire.wait(now)) is not None]
        ready = selector.select(min(waits, default=None))
        cut = {key.data for key, events in ready if events & selectors.EVENT_READ and not _read(key)}
        for wire in whole:
            wire.arrived(time.monotonic())
            try:
                wire.flush()
            except OSError:
                cut.add(wire)
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if wire.sending else 0)
            if selector.get_key(wire.target).events != mask:
                selector.modify(wire.target, mask, wire)
        for wire in cut & whole:
            for link in (wire.source, wire.target):
                selector.unregister(link)
                link.close()
        whole -= cut


def _read(key: selectors.SelectorKey) -> bool:
    """Take what came on a connection; False when it is closed."""
    try:
        data = key.fileobj.recv(READ)  # type: ignore[union-attr]
    except BlockingIOError:
        return True
    except OSError:
        return False
    if data and key.fileobj is key.data.source:
        key.data.take(data, time.monotonic())
    return bool(data)


if __name__ == "__main__":
    run(connected([(sys.argv[1], json.loads(sys.argv[2]))]))
