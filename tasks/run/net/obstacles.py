"""This host ──> the reasons why bridges cannot be made here, none if they can

Whether a namespace can be made is found out by making one, with all that a start puts into it: many things
forbid some part of that (containers, sandboxes, security modules), and few of them can be asked.
"""

import functools
import os
import tempfile
from pathlib import Path

from tasks.base import proc
from tasks.base.errors import UserError
from tasks.base.paths import ClusterDir
from tasks.run.net import namespace
from tasks.run.net.host_support import NET_ADMIN, capable, here, uplink

TUN = Path("/dev/net/tun")
FORBIDDING = (  # sysctl, and what it says when there are to be no namespaces for users
    ("kernel/unprivileged_userns_clone", "0"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ("user/max_user_namespaces", "0"),
    ("user/max_net_namespaces", "0"),
)
TRIAL = "tuntap add dev xcbr0_t1 mode tap\nlink add xcbr0 type bridge\nlink set xcbr0_t1 master xcbr0 up\n"


@functools.cache
def of_bridges() -> list[str]:
    """All reasons why bridges cannot be made here; empty if they can. Takes a tenth of a second."""
    programs = ("nsenter", "unshare") if here() else ("nsenter", "unshare", "ip", "nft")
    missing = [_absent(program) for program in programs if not proc.find(program)]
    if not here() and uplink() is None:
        missing.append(f"neither slirp4netns nor pasta is there: {proc.INSTALL} slirp4netns")
    missing += _no_tun()
    if here() and not capable(NET_ADMIN):
        missing.append("taps in this namespace need CAP_NET_ADMIN, which `xc nsenter` gives")
    return missing or ([] if here() else _no_namespace())


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
    """Why no namespace can be made."""
    try:
        with tempfile.TemporaryDirectory(prefix="xcluster-") as folder:
            _try(ClusterDir(Path(folder, "run", "trial")))
    except (UserError, OSError) as error:
        reason = str(error.args[0] if isinstance(error, UserError) else error).splitlines()[-1].strip()
        forbidden = [
            f"{key.replace('/', '.')} is {value}" for key, value in FORBIDDING if _sysctl(key) == value
        ]
        return [f"no network namespace for this user ({', '.join(forbidden) or reason})"]
    return []


def _try(cluster: ClusterDir) -> None:
    """Make what a start makes, and end it."""
    place = namespace.make(cluster)
    try:
        namespace.connect(cluster, place)
        plan = cluster.net / "trial"
        plan.write_text(TRIAL)
        proc.output([*namespace.joining(place), proc.need("ip"), "-batch", str(plan)])
    finally:
        namespace.end(place, cluster)


def _sysctl(key: str) -> str | None:
    try:
        return (Path("/proc/sys") / key).read_text().strip()
    except OSError:
        return None
