"""An Ethernet switch in user space: learns addresses, forwards every frame, also those a bridge keeps (LLDP).

    python switch.py DIRECTORY NET...

A net is a unix stream socket DIRECTORY/NET; each connection is a port of that net. A frame on the wire is
its length (4 bytes, big endian) and the frame, which is what QEMU's `-netdev stream` speaks. Runs by itself,
on the standard library alone, until it is ended.
"""

import os
import selectors
import socket
import struct
import sys
from pathlib import Path

READ = 1 << 18  # bytes at most per turn of a port
WAITING = (
    4 << 20
)  # bytes that may wait for a port that does not read; beyond, its frames are lost, as on a wire
LARGEST = 1 << 17  # bytes of a frame; more is no frame


class Port:
    """One NIC."""

    def __init__(self, link: socket.socket, net: "Net") -> None:
        self.link = link
        self.net = net
        self.received = bytearray()
        self.waiting = bytearray()

    def frames(self) -> list[bytes]:
        """The frames that came in whole. Raises ValueError for a length that cannot be."""
        frames = []
        at = 0
        while len(self.received) - at >= 4:
            (length,) = struct.unpack_from(">I", self.received, at)
            if length > LARGEST:
                raise ValueError(f"a frame of {length} bytes")
            if len(self.received) - at - 4 < length:
                break
            frames.append(bytes(self.received[at : at + 4 + length]))
            at += 4 + length
        del self.received[:at]
        return frames


class Net:
    """One switch: its ports, and behind which port an address was seen last."""

    def __init__(self, path: Path) -> None:
        self.ports: set[Port] = set()
        self.seen: dict[bytes, Port] = {}
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        hidden = path.with_name(f".{path.name}")
        self.listener.bind(hidden.name)  # a whole path may be too long for a socket
        hidden.chmod(0o600)
        self.listener.listen(256)
        hidden.rename(path)  # who finds it can connect
        self.listener.setblocking(False)

    def forward(self, source: Port, frame: bytes) -> list[Port]:
        """Put a frame (with its length) where it belongs; the ports that have something to send now."""
        if len(frame) < 4 + 14:
            return []
        target, sender = frame[4:10], frame[10:16]
        if not sender[0] & 1:
            self.seen[sender] = source
        owner = None if target[0] & 1 else self.seen.get(target)
        targets = [owner] if owner else list(self.ports)
        reached = [port for port in targets if port is not source and len(port.waiting) < WAITING]
        for port in reached:
            port.waiting += frame
        return reached

    def remove(self, port: Port) -> None:
        """A NIC is gone."""
        self.ports.discard(port)
        self.seen = {address: at for address, at in self.seen.items() if at is not port}


class Switch:
    """All nets of a cluster in one process."""

    def __init__(self, directory: Path, names: list[str]) -> None:
        self.selector = selectors.DefaultSelector()
        for name in names:
            net = Net(directory / name)
            self.selector.register(net.listener, selectors.EVENT_READ, net)

    def run(self) -> None:
        """Forward frames for ever."""
        while True:
            dirty: set[Port] = set()
            for key, events in self.selector.select():
                if isinstance(key.data, Net):
                    self.accept(key.data)
                    continue
                if events & selectors.EVENT_READ:
                    dirty.update(self.read(key.data))
                if events & selectors.EVENT_WRITE:
                    dirty.add(key.data)
            for port in dirty:
                self.write(port)

    def accept(self, net: Net) -> None:
        """A NIC is plugged in."""
        try:
            link, _ = net.listener.accept()
        except OSError:  # gone again, or no file descriptor is left
            return
        link.setblocking(False)
        port = Port(link, net)
        net.ports.add(port)
        self.selector.register(link, selectors.EVENT_READ, port)

    def read(self, port: Port) -> set[Port]:
        """Forward what a port sent; the ports that have something to send now."""
        reached: set[Port] = set()
        try:
            data = port.link.recv(READ)
            port.received += data
            for frame in port.frames():
                reached.update(port.net.forward(port, frame))
        except BlockingIOError:
            return reached
        except (OSError, ValueError):
            data = b""
        if not data:
            self.close(port)
        return reached

    def write(self, port: Port) -> None:
        """Send what waits, and come back when the port can take more."""
        if port not in port.net.ports:
            return
        try:
            sent = port.link.send(port.waiting) if port.waiting else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close(port)
            return
        del port.waiting[:sent]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if port.waiting else 0)
        if self.selector.get_key(port.link).events != events:
            self.selector.modify(port.link, events, port)

    def close(self, port: Port) -> None:
        """A NIC is unplugged."""
        port.net.remove(port)
        self.selector.unregister(port.link)
        port.link.close()


if __name__ == "__main__":
    os.chdir(sys.argv[1])  # a socket cannot have a long path
    Switch(Path(), sys.argv[2:]).run()
