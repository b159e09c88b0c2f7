"""Cables of a container: pairs of virtual ethernet devices, one end at a bridge, the other in the container.

    python veth.py NAME up|down

plugs one in or unplugs it. They are made in few netlink requests, on the standard library alone. Both ends go
with the container's namespace, so nothing has to be removed.
"""

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Collection, Sequence

NEWLINK, DELLINK = 16, 17  # rtnetlink(7)
REQUEST, ACK, CREATE, EXCL = 0x1, 0x4, 0x400, 0x200
# Flags of a link that are set, and flags that are changed.
UP, DOWN, AS_IT_IS = (1, 1), (0, 1), (0, 0)  # IFF_UP
WITHOUT_ARP = (0x81, 0x81)  # and IFF_NOARP: else the host would answer there for all its addresses
NESTED = 0x8000
ADDRESS, IFNAME, MTU, MASTER, LINKINFO, AF_SPEC, NET_NS_FD = 1, 3, 4, 10, 18, 26, 28  # IFLA_*
KIND, DATA, PEER = 1, 2, 1  # IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER
ADDR_GEN_MODE, NO_ADDRESS = 8, 1  # IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE
HEADER = struct.Struct("IHHII")
LINK = struct.Struct("BxHiII")


def plug(nics: Sequence[Sequence[str | int]], namespace: int, pulled: Collection[str] = ()) -> None:
    """Give a network namespace (a file descriptor of it) its interfaces eth0, eth1 ...

    A NIC is [NAME, BRIDGE, MAC, MTU, WIRE]: NAME is what the end at the bridge is called, where we are.
    If there is a link WIRE (veth_wire.py) it is there instead. `pulled` are those that stay unplugged.
    Raises OSError.
    """
    with netlink() as link:
        for number, (name, bridge, mac, mtu, wire) in enumerate(nics):
            with contextlib.suppress(OSError):  # of a container that ends at this moment
                ask(link, str(name), DELLINK, 0, named(str(name)))
            peer = LINK.pack(0, 0, 0, 0, 0) + named(f"eth{number}")
            peer += attribute(ADDRESS, bytes.fromhex(str(mac).replace(":", "")))
            peer += number_of(MTU, int(mtu)) + number_of(NET_NS_FD, namespace)
            pair = text_of(KIND, "veth") + attribute(DATA | NESTED, attribute(PEER | NESTED, peer))
            own = named(str(name)) + number_of(MTU, int(mtu))
            ask(link, str(name), NEWLINK, CREATE | EXCL, own + attribute(LINKINFO | NESTED, pair))
            port(
                link,
                str(name),
                str(wire if exists(str(wire)) else bridge),
                DOWN if f"eth{number}" in pulled else UP,
            )


def netlink() -> socket.socket:
    """A socket for `ask`."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    link.bind((0, 0))
    return link


def exists(name: str) -> bool:
    """Whether there is a link of this name."""
    try:
        return bool(socket.if_nametoindex(name))
    except OSError:
        return False


def port(link: socket.socket, name: str, bridge: str, state: tuple[int, int] = UP) -> None:
    """Make a link a port of a bridge. Raises OSError.

    It has no address itself: the host would speak on it.
    """
    own = number_of(MASTER, socket.if_nametoindex(bridge))
    silence(link, name, own, state)


def silence(link: socket.socket, name: str, own: bytes = b"", state: tuple[int, int] = UP) -> None:
    """Change a link so that it gets no address by itself. Raises OSError."""
    if os.path.exists("/proc/sys/net/ipv6"):
        mode = attribute(ADDR_GEN_MODE, bytes([NO_ADDRESS]))
        own += attribute(AF_SPEC | NESTED, attribute(socket.AF_INET6 | NESTED, mode))
    ask(link, name, NEWLINK, 0, named(name) + own, state)


def ask(
    link: socket.socket,
    name: str,
    kind: int,
    flags: int,
    attributes: bytes,
    state: tuple[int, int] = AS_IT_IS,
) -> None:
    """One request about a link. Raises OSError with its name."""
    body = LINK.pack(0, 0, 0, *state) + attributes
    link.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | ACK | flags, 0, 0) + body)
    answer = link.recv(1 << 16)
    (code,) = struct.unpack_from("i", answer, HEADER.size)
    if code:
        number = -code
        why = "there is one of this name" if number == errno.EEXIST else os.strerror(number)
        raise OSError(number, f"the cable {name}: {why}")


def attribute(kind: int, data: bytes) -> bytes:
    """An attribute of a request."""
    length = 4 + len(data)
    return struct.pack("HH", length, kind) + data + bytes(-length % 4)


def text_of(kind: int, text: str) -> bytes:
    """An attribute that is a text."""
    return attribute(kind, text.encode() + b"\0")


def named(name: str) -> bytes:
    """The attribute that says which link."""
    return text_of(IFNAME, name)


def number_of(kind: int, number: int) -> bytes:
    """An attribute that is a number of 32 bits."""
    return attribute(kind, struct.pack("I", number))


def main(name: str, state: str) -> int:
    """Plug a cable in, or unplug it; 1 after a line that says why not."""
    try:
        with netlink() as link:
            ask(link, name, NEWLINK, 0, named(name), UP if state == "up" else DOWN)
    except OSError as error:
        print(error.strerror, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
