"""cgroups of a container: one of its own in each hierarchy of the host, which root of the node may divide.

With cgroups of version 1 it is below the one that we are in ourselves, so that limits of ours are also the
node's. With version 2 it is at the top, as no other cgroup that has processes may give controllers to others.
"""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROCESSES = "cgroup.procs"
GIVEN = ("", PROCESSES, "tasks", "cgroup.threads", "cgroup.subtree_control")  # as cgroups(7) delegates them
COPIED = ("cpuset.mems", "cpuset.cpus")  # a new cgroup of version 1 has none
NEEDED = ("cpu", "cpuset", "memory", "pids")  # the controllers that programs which divide them count on
PATIENCE = 2.0  # seconds for processes that were killed to be gone
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
        self.name = f"xcluster-{name}-{os.urandom(4).hex()}"

    def make(self, owner: int) -> None:
        """Make them, for a user of the host. Raises OSError."""
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
                if (group / file).exists():
                    os.chown(group / file, owner, owner)

    def take(self, pid: int) -> None:
        """Move a process there; what it starts is there too. Raises OSError."""
        for each in self.places:
            (each.place / self.name / PROCESSES).write_text(f"{pid}")

    def release(self, pid: int) -> None:
        """Move it away again. Raises OSError."""
        for each in self.places:
            (each.place / PROCESSES).write_text(f"{pid}")

    def remove(self) -> None:
        """Remove them, when the node has ended."""
        forget(self.record)


def _enable(place: Path) -> None:
    """Let the cgroups below have all controllers that there are."""
    for controller in (place / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):  # one that the kernel keeps to itself
            (place / "cgroup.subtree_control").write_text(f"+{controller}")


def forget(record: Path) -> None:
    """Remove the cgroups of which a file tells, with all below them, once their processes have ended."""
    if not record.is_file():
        return
    until = time.monotonic() + PATIENCE
    for directory in json.loads(record.read_text()):
        while os.path.isdir(directory) and not _removed(directory) and time.monotonic() < until:
            time.sleep(0.02)
    record.unlink()


def _removed(directory: str) -> bool:
    try:
        for path, _, _ in os.walk(directory, topdown=False):
            os.rmdir(path)
    except OSError:
        return False
    return True
