"""Cables of a container: pairs of virtual ethernet devices, one end at a bridge, the other in the container.

They are made in few netlink requests, on the standard library alone. Both ends go with the container's
namespace, so nothing has to be removed.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Sequence

NEWLINK, DELLINK = 16, 17  # rtnetlink(7)
REQUEST, ACK, CREATE, EXCL = 0x1, 0x4, 0x400, 0x200
UP = 1  # IFF_UP
NESTED = 0x8000
ADDRESS, IFNAME, MTU, MASTER, LINKINFO, AF_SPEC, NET_NS_FD = 1, 3, 4, 10, 18, 26, 28  # IFLA_*
KIND, DATA, PEER = 1, 2, 1  # IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER
ADDR_GEN_MODE, NO_ADDRESS = 8, 1  # IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE
HEADER = struct.Struct("IHHII")
LINK = struct.Struct("BxHiII")


def plug(nics: Sequence[Sequence[str | int]], namespace: int) -> None:
    """Give a network namespace (a file descriptor of it) its interfaces eth0, eth1 ...

    A NIC is [NAME, BRIDGE, MAC, MTU]: NAME is what the end at the bridge is called, in our own namespace.
    Raises OSError.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.bind((0, 0))
        for number, (name, bridge, mac, mtu) in enumerate(nics):
            with contextlib.suppress(OSError):  # of a container that ends at this moment
                _ask(link, str(name), DELLINK, 0, _text(IFNAME, str(name)))
            peer = LINK.pack(0, 0, 0, 0, 0) + _text(IFNAME, f"eth{number}")
            peer += _attribute(ADDRESS, bytes.fromhex(str(mac).replace(":", "")))
            peer += _number(MTU, int(mtu)) + _number(NET_NS_FD, namespace)
            pair = _text(KIND, "veth") + _attribute(DATA | NESTED, _attribute(PEER | NESTED, peer))
            own = _text(IFNAME, str(name)) + _number(MTU, int(mtu))
            _ask(link, str(name), NEWLINK, CREATE | EXCL, own + _attribute(LINKINFO | NESTED, pair))
            own = _text(IFNAME, str(name)) + _number(MASTER, socket.if_nametoindex(str(bridge)))
            if os.path.exists("/proc/sys/net/ipv6"):  # the host would speak on it
                mode = _attribute(ADDR_GEN_MODE, bytes([NO_ADDRESS]))
                own += _attribute(AF_SPEC | NESTED, _attribute(socket.AF_INET6 | NESTED, mode))
            _ask(link, str(name), NEWLINK, 0, own, up=True)


def _ask(
    link: socket.socket, name: str, kind: int, flags: int, attributes: bytes, *, up: bool = False
) -> None:
    """One request about a link. Raises OSError with its name."""
    state = UP if up else 0
    body = LINK.pack(0, 0, 0, state, state) + attributes
    link.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | ACK | flags, 0, 0) + body)
    answer = link.recv(1 << 16)
    (code,) = struct.unpack_from("i", answer, HEADER.size)
    if code:
        number = -code
        why = "there is one of this name" if number == errno.EEXIST else os.strerror(number)
        raise OSError(number, f"the cable {name}: {why}")


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("HH", length, kind) + data + bytes(-length % 4)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return _attribute(kind, struct.pack("I", number))
