"""System calls for namespaces and mounts that Python does not have, by the C library; failures in words."""

import ctypes
import os
import signal
from pathlib import Path

NEW = {
    "mount": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
    "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


def check(code: int, what: str) -> None:
    """Raise OSError for a call that failed."""
    if code < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(*kinds: str) -> None:
    """Go to new namespaces of these kinds. Raises OSError."""
    check(libc.unshare(sum(NEW[kind] for kind in kinds)), f"new namespaces ({', '.join(kinds)})")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError."""
    words = [os.fsencode(source), os.fsencode(target), kind.encode() if kind else None]
    code = libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None)
    check(code, f"mount {kind or ''} {target}".replace("  ", " "))


def bind(source: str, target: str, flags: int = 0) -> None:
    """Make `source` visible at `target` too, a directory or a file, which is made."""
    place = Path(target)
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    elif not os.path.lexists(target):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount(source, target, flags=BIND)
    if flags:
        mount("none", target, flags=BIND | REMOUNT | flags | _locked(target))


def _locked(path: str) -> int:
    """The flags that a mount has, and a user namespace may not take away."""
    have = os.statvfs(path).f_flag
    pairs = {os.ST_RDONLY: RDONLY, os.ST_NOSUID: NOSUID, os.ST_NODEV: NODEV, os.ST_NOEXEC: NOEXEC}
    return sum(flag for bit, flag in pairs.items() if have & bit)


def move_root(place: str) -> None:
    """Make `place` the root; what was the root before is out of reach."""
    os.chdir(place)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", DETACH), "umount of the old root")
    os.chdir("/")


def end_with_parent() -> None:
    """Be killed when the process that made us ends."""
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
