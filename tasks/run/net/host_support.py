"""Where bridges and taps can be made: in a network namespace of the cluster's own, or in the one we are in.

We use the one we are in when there are bridges of ours already, as `xc nsadd` makes them.
"""

import functools
import os
import re
import socket
from pathlib import Path

from tasks.base import proc
from tasks.base.errors import CommandError

UPLINKS = ("slirp4netns", "pasta")  # the first that is there connects a namespace with the outside
UP = "xcup"  # what the uplink is called in there
BRIDGE = re.compile(r"xcbr[0-9]{1,2}")
TUN = Path("/dev/net/tun")
NET_ADMIN, SYS_ADMIN = 12, 21  # capabilities(7)
FORBIDDING = (  # sysctl, and what it says when there are to be no namespaces for users
    ("kernel/unprivileged_userns_clone", "0"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ("user/max_user_namespaces", "0"),
    ("user/max_net_namespaces", "0"),
)


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


def uplink() -> str | None:
    """The program that connects a namespace with the outside."""
    return next((name for name in UPLINKS if proc.find(name)), None)


@functools.cache
def obstacles() -> list[str]:
    """All reasons why bridges cannot be made here; empty if they can. Takes some milliseconds."""
    programs = ("nsenter", "unshare") if here() else ("nsenter", "unshare", "ip", "nft")
    missing = [_absent(program) for program in programs if not proc.find(program)]
    if not here() and uplink() is None:
        missing.append(f"neither slirp4netns nor pasta is there: {proc.INSTALL} slirp4netns")
    missing += _no_tun()
    if here() and not capable(NET_ADMIN):
        missing.append("taps in this namespace need CAP_NET_ADMIN, which `xc nsenter` gives")
    return missing or ([] if here() else _no_namespace())


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


def _absent(program: str) -> str:
    return f"'{program}' is missing: {proc.INSTALL} {proc.DEBIAN_PACKAGE[program]}"


def _no_tun() -> list[str]:
    if not TUN.exists():
        return [f"there is no {TUN}: modprobe tun"]
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        return [f"{TUN}: {(error.strerror or '').lower()}; `chmod 666 {TUN}` as root is what most hosts have"]
    return []


def _no_namespace() -> list[str]:
    """Make a namespace and a tap in it."""
    try:
        proc.output([*fence(), proc.need("ip"), "tuntap", "add", "dev", "xc0", "mode", "tap"])
    except CommandError as error:
        reason = str(error).splitlines()[-1].strip()
        forbidden = [
            f"{key.replace('/', '.')} is {value}" for key, value in FORBIDDING if _sysctl(key) == value
        ]
        return [f"no network namespace for this user ({', '.join(forbidden) or reason})"]
    return []


def _sysctl(key: str) -> str | None:
    try:
        return (Path("/proc/sys") / key).read_text().strip()
    except OSError:
        return None
