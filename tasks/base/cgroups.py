"""cgroups of a container: one of its own in each hierarchy of the host, which root of the node may divide

They hold limits of the node, too, also where the node may not divide them: then those that we can make do.

With cgroups of version 1 it is below the one that we are in ourselves, so that limits of ours are also the
node's. With version 2 it is at the top, as no other cgroup that has processes may give controllers to others.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROCESSES = "cgroup.procs"
GIVEN = ("", PROCESSES, "tasks", "cgroup.threads", "cgroup.subtree_control")  # as cgroups(7) delegates them
COPIED = ("cpuset.mems", "cpuset.cpus")  # a new cgroup of version 1 has none
NEEDED = ("cpu", "cpuset", "memory", "pids")  # the controllers that programs which divide them count on
PREFIX = "xcluster-"
YOUNG = 60  # seconds in which a cgroup may have no process yet
PATIENCE = 2.0  # seconds for processes that were killed to be gone
LIMITED = ("memory", "cpu", "pids")  # the controllers that limit a node
PERIOD = 100_000  # microseconds
# The files with limits: of what, and how the number is written (MiB, processors, processes).
FILES: Mapping[str, tuple[str, Callable[[int], str]]] = {
    "memory.limit_in_bytes": ("mem", lambda mem: f"{mem << 20}"),
    "memory.memsw.limit_in_bytes": ("mem", lambda mem: f"{mem << 20}"),
    "memory.max": ("mem", lambda mem: f"{mem << 20}"),
    "memory.swap.max": ("mem", lambda _: "0"),
    "cpu.cfs_quota_us": ("smp", lambda smp: f"{smp * PERIOD}"),
    "cpu.max": ("smp", lambda smp: f"{smp * PERIOD} {PERIOD}"),
    "pids.max": ("processes", str),
}
RECORD = "cgroups.json"  # in the node's directory: the paths of its cgroups


@dataclass(frozen=True)
class Hierarchy:
    """A hierarchy of cgroups."""

    controllers: str  # what /proc/self/cgroup calls it: cpu,cpuacct or name=systemd; "" for version 2
    place: Path  # the directory below which the cgroups of nodes are


def hierarchies(own: str, mounts: str) -> list[Hierarchy]:
    """Those for nodes, from /proc/self/cgroup and /proc/self/mountinfo: of version 1 if it has any."""
    ours = dict(line.split(":", 2)[1:] for line in own.splitlines())
    first, second = {}, []
    for line in mounts.splitlines():
        words, _, rest = line.partition(" - ")
        root, place = words.split()[3:5]
        kind, _, options = rest.split(" ", 2)
        if kind == "cgroup2":
            second.append(Hierarchy("", Path(place)))
        elif kind == "cgroup":
            has = set(options.split(","))
            for name in (name for name in ours if name and set(name.split(",")) <= has):
                first[name] = Hierarchy(name, Path(place, os.path.relpath(ours[name], root)))
    return list(first.values()) or second[:1]


def here() -> list[Hierarchy]:
    """Those for nodes of this process."""
    return hierarchies(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())


def limiting() -> list[Hierarchy]:
    """Those in which we can limit a node."""
    own = Path("/proc/self/cgroup").read_text()
    places = [delegated(each, own) for each in here()]
    return [
        each
        for each in places
        if os.access(each.place, os.W_OK)
        and os.access(each.place / PROCESSES, os.W_OK)
        and any(name in LIMITED for name in _controllers(each))
    ]


def delegated(hierarchy: Hierarchy, own: str) -> Hierarchy:
    """Of version 2, where we are not root, a cgroup above ours which gives its controllers to others.

    `own` is /proc/self/cgroup.
    """
    if hierarchy.controllers or os.access(hierarchy.place, os.W_OK):
        return hierarchy
    path = next(line for line in own.splitlines() if line.startswith("0::"))
    for above in Path(path.removeprefix("0::/")).parents:
        place = hierarchy.place / above
        with contextlib.suppress(OSError):
            given = (place / "cgroup.subtree_control").read_text().split()
            if os.access(place / PROCESSES, os.W_OK) and "memory" in given:
                return Hierarchy("", place)
    return hierarchy


def held() -> set[str]:
    """Which limits hold for a node: `mem`, `smp`, `processes`. To find out, a cgroup is made for a moment."""
    names: set[str] = set()
    for place in limiting():
        trial = Cgroups([place], "trial", Path(os.devnull))
        group = place.place / trial.name
        with contextlib.suppress(OSError):
            if not place.controllers:
                _enable(place.place)
            group.mkdir()
            names |= {limit for file, (limit, _) in FILES.items() if (group / file).exists()}
        with contextlib.suppress(OSError):
            group.rmdir()
    return names


def obstacles(places: Sequence[Hierarchy]) -> list[str]:
    """Why a node cannot have cgroups of its own here; nothing is changed."""
    if not places:
        return ["no cgroups are mounted"]
    closed = [str(each.place) for each in places if not os.access(each.place, os.W_OK)]
    names = {name for each in places for name in _controllers(each)}
    lacking = [name for name in NEEDED if name not in names]
    problems = [f"{path} cannot be written" for path in closed[:1]]
    return problems + [f"this host has no controller {name}" for name in lacking]


def _controllers(hierarchy: Hierarchy) -> list[str]:
    if hierarchy.controllers:
        return hierarchy.controllers.split(",")
    return (hierarchy.place / "cgroup.controllers").read_text().split()


class Cgroups:
    """The cgroups of one node, in the hierarchies; `record` is the file that says where they are."""

    def __init__(self, places: Sequence[Hierarchy], name: str, record: Path) -> None:
        self.places, self.record = places, record
        self.name = f"{PREFIX}{name}-{os.urandom(4).hex()}"

    def make(self, owner: int | None) -> None:
        """Make them, for a user of the host who may divide them. Raises OSError."""
        self.record.write_text(json.dumps([str(each.place / self.name) for each in self.places]))
        for each in self.places:
            if not each.controllers:
                _enable(each.place)
            group = each.place / self.name
            group.mkdir()
            for file in COPIED:
                if each.controllers and (group / file).exists():
                    (group / file).write_text((each.place / file).read_text())
            for file in GIVEN:
                if owner is not None and (group / file).exists():
                    os.chown(group / file, owner, owner)

    def limit(self, limits: Mapping[str, int]) -> None:
        """Set what the node may have at most, as far as there is a file for it. Raises OSError."""
        for each in self.places:
            for file, (limit, written) in FILES.items():
                if (each.place / self.name / file).exists():
                    (each.place / self.name / file).write_text(written(limits[limit]))

    def take(self, pid: int) -> None:
        """Move a process there; what it starts is there too. Raises OSError."""
        for each in self.places:
            (each.place / self.name / PROCESSES).write_text(f"{pid}")

    def release(self, pid: int) -> None:
        """Move it away again. Raises OSError."""
        for each in self.places:
            (each.place / PROCESSES).write_text(f"{pid}")

    def remove(self) -> None:
        """Remove them, when the node has ended, also if its directory has gone."""
        _remove([str(each.place / self.name) for each in self.places])
        self.record.unlink(missing_ok=True)


def _enable(place: Path) -> None:
    """Let the cgroups below have all controllers that there are."""
    for controller in (place / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):  # one that the kernel keeps to itself
            (place / "cgroup.subtree_control").write_text(f"+{controller}")


def forget(record: Path) -> None:
    """Remove the cgroups of which a file tells, with all below them, once their processes have ended."""
    if record.is_file():
        _remove(json.loads(record.read_text()))
        record.unlink()


def all_places() -> list[Path]:
    """Where cgroups of nodes may be on this host."""
    return sorted({each.place for each in (*here(), *limiting())})


def mark(directory: Path) -> str:
    """What the names of cgroups have of the directory of their cluster."""
    return hashlib.sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:8]


def forget_cluster(directory: Path) -> None:
    """Remove the cgroups of a cluster whose files do not say which they are."""
    groups = [group for place in all_places() for group in place.glob(f"{PREFIX}*-{mark(directory)}-*")]
    _remove([str(group) for group in groups])


def left(places: Sequence[Path]) -> list[Path]:
    """Cgroups of nodes, not the newest, in which nothing runs any more."""
    groups = [group for place in places for group in sorted(place.glob(f"{PREFIX}*"))]
    return [each for each in groups if _is_old(each) and not _processes(each)]


def _is_old(group: Path) -> bool:
    with contextlib.suppress(OSError):
        return group.stat().st_ctime < time.time() - YOUNG
    return False


def _processes(group: Path) -> list[str]:
    return [line for file in group.glob(f"**/{PROCESSES}") for line in file.read_text().split()]


def _remove(directories: Sequence[str]) -> None:
    until = time.monotonic() + PATIENCE
    for directory in directories:
        while os.path.isdir(directory) and not removed(directory) and time.monotonic() < until:
            time.sleep(0.02)


def removed(directory: str | Path) -> bool:
    """Remove a cgroup, with all below it; whether that was possible, as nothing runs there."""
    try:
        for path, _, _ in os.walk(directory, topdown=False):
            os.rmdir(path)
    except OSError:
        return False
    return True
