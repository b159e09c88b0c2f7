"""This host ──> where bridges and taps are made: in a namespace of the cluster's own, or in the present one

We use the one we are in when there are bridges of ours already, as `xc nsadd` makes them.
"""

import fcntl
import itertools
import os
import re
import socket
import struct
from pathlib import Path

from tasks.base import proc

UPLINKS = ("slirp4netns", "pasta")  # the first that is there connects a namespace with the outside
UP = "xcup"  # what the uplink is called in there
BRIDGE = re.compile(r"xcbr[0-9]{1,2}")
SIOCGIFFLAGS, IFF_UP = 0x8913, 1  # netdevice(7)
NET_ADMIN, SYS_ADMIN = 12, 21  # capabilities(7)


def here() -> bool:
    """Whether the namespace we are in has bridges of ours."""
    return any(BRIDGE.fullmatch(name) for _, name in socket.if_nameindex())


def fence() -> list[str]:
    """The words that must precede a command, so that it runs in a network namespace of its own."""
    user = [] if capable(SYS_ADMIN) else ["--user", "--map-root-user"]
    return [proc.need("unshare"), *user, "--net"]


def capable(capability: int) -> bool:
    """Whether we have this capability; in a user namespace that may be one over its own things only."""
    status = Path("/proc/self/status").read_text()
    mask = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    return bool(mask >> capability & 1)


def release() -> tuple[int, int]:
    """The version of the kernel."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(itertools.takewhile(str.isdigit, minor)))


def uplink() -> str | None:
    """The program that connects a namespace with the outside."""
    return next((name for name in UPLINKS if proc.find(name)), None)


def choice() -> str:
    """Where bridges are made, in a few words."""
    if here():
        return "in this namespace"
    return f"in a {'' if capable(SYS_ADMIN) else 'user '}namespace, uplink by {uplink()}"


def namespace() -> int:
    """The network namespace we are in, by its inode."""
    return Path("/proc/self/ns/net").stat().st_ino


def name_of(inode: int) -> Path | None:
    """The file that names a network namespace for `ip netns`, if one does."""
    names = Path("/run/netns").glob("*")
    return next((name for name in names if name.stat().st_ino == inode), None)


def loopback_down() -> list[str]:
    """Whether the loopback of the namespace we are in is down: then no port of it leads to a node."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
    (flags,) = struct.unpack_from("H", answer, 16)
    return [] if flags & IFF_UP else ["the loopback of this network namespace is down: ip link set lo up"]
