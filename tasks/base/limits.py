"""This process ──> the processors and the memory that it may use: what the host has, less what limits us

Containers, batch systems and `taskset` give a process less than the host has.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNLIMITED = 1 << 60  # bytes; version 1 of control groups writes a larger number where there is no limit


@dataclass(frozen=True)
class Memory:
    """MiB that can be taken without swapping, and who sets the limit."""

    free: int
    of: str  # "the host", or a control group


def processors() -> int:
    """The processors that this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *map(math.ceil, _quotas())]))


def memory(root: Path = Path("/")) -> Memory:
    """The memory that is free for this process. `root` is where proc is mounted, for tests."""
    limits = [Memory(_of_host(root), "the host")]
    for folder in _groups("memory", root):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit is None or limit >= UNLIMITED:
            continue
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        free = max(0, limit - used + _reclaimable(folder)) >> 20
        limits.append(Memory(free, f"its control group {folder} (limit {limit >> 20} MiB)"))
    return min(limits, key=lambda each: each.free)


def _of_host(root: Path) -> int:
    """MemAvailable in MiB."""
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


def _reclaimable(folder: Path) -> int:
    """Bytes of files that nobody has used for a while: they make room when it is needed."""
    with contextlib.suppress(OSError, ValueError):
        words = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text().splitlines())
        return int(words.get("total_inactive_file") or words.get("inactive_file") or 0)
    return 0


def _quotas() -> Iterator[float]:
    """How many processors' time the control groups of this process may use in all."""
    for folder in _groups("cpu", Path("/")):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:
                yield int(quota) / int(period)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The control groups that this process is in, of both versions, and those above them."""
    try:
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for mount in mounts:
            left, _, right = mount.partition(" - ")
            kind, _, options = right.split(" ", 2)
            if kind != ("cgroup" if controllers else "cgroup2"):
                continue
            if controllers and controller not in options.split(","):
                continue
            top, place = left.split(" ")[3:5]
            yield from _upwards(root / place.lstrip("/"), os.path.relpath(path, top))


def _upwards(mount: Path, inside: str) -> Iterator[Path]:
    """A group and those above it, as far as they are mounted here."""
    folder = mount if inside == "." or inside.startswith("..") else mount / inside
    while folder != mount and folder.is_relative_to(mount):
        yield folder
        folder = folder.parent
    yield mount


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # `max`, or not there
        return None
