"""The processes of a cluster, found without its files, which may be damaged or gone.

Each process that is started for a cluster, and so each child of it, has the cluster's directory in its
environment. One that was started before there was this mark is known as a program of ours with that directory
on its command line. Somebody else's process that has it there, as an editor, is not.
"""

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.base import progress, records
from tasks.base.node_names import number_in
from tasks.base.paths import ClusterDir, Workspace
from tasks.base.records import Mark

GRACE = 2.0  # seconds between SIGTERM and SIGKILL
ROUNDS = 3
# What stands first on the command line of a machine, and of a DNS server.
_MACHINE = re.compile(r"qemu-system-[a-z0-9_]+")
_SERVER = re.compile(r"dnsmasq|coredns")
# The scripts of ours that Python runs, where they are and where they were before they had a folder.
_SCRIPT = re.compile(
    r".*/tasks/(run/)?(net|node)/(programs/)?(switch|holder|wire|pretend|guard|container)\.py"
)


@dataclass(frozen=True)
class Process:
    """A process, and the name of the cluster that it is for."""

    mark: Mark
    argv: tuple[str, ...]
    owner: str


def of(cluster: ClusterDir) -> list[Process]:
    """The processes of one cluster of one workspace."""
    return [process for process in _every(cluster.workspace) if process.owner == cluster.root.name]


def clusters(workspace: Workspace) -> set[str]:
    """The names of all clusters of a workspace that have processes, with or without files."""
    return {process.owner for process in _every(workspace) if not process.owner.startswith(".")}


@dataclass(frozen=True)
class Stray:
    """A process that is for a cluster whose directory is gone, in whatever workspace that was."""

    process: Process
    directory: Path
    user: int  # whose process it is


def strays() -> list[Stray]:
    """All strays of this host, as far as /proc shows them."""
    spared = _ancestors()
    lost = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        argv = tuple(os.fsdecode(word) for word in _words(folder / "cmdline"))
        directory = records.owner(pid) or (_directory(argv) if _is_ours(argv) else None)
        if pid in spared or directory is None or directory.exists() or directory.name.startswith("."):
            continue
        with contextlib.suppress(OSError):
            mark, user = Mark.of(pid), folder.stat().st_uid
            if mark.running and not _was_moved(pid):
                lost.append(Stray(Process(mark, argv, directory.name), directory, user))
    return lost


def _was_moved(pid: int) -> bool:
    """Whether the log of a process is still there: its cluster has another directory now."""
    log = os.readlink(f"/proc/{pid}/fd/1")
    return log.startswith("/") and os.path.isfile(log)


def _directory(argv: Sequence[str]) -> Path | None:
    """The directory of a cluster that is on a command line."""
    for word in argv:
        path = re.search(r"(?:^|[=:,])(/.*/run/[^/,:]+)/", word)
        if path:
            return Path(path[1])
    return None


def nodes(cluster: ClusterDir) -> dict[int, int]:
    """The machines of a cluster, found by their command lines: number of the node -> pid."""
    machines = {}
    for process in of(cluster):
        names = [word.partition(",process=")[2] for word in process.argv if ",process=" in word]
        names += [Path(word).parent.name for word in process.argv if word.endswith("/container.json")]
        for number in filter(None, map(number_in, names)):
            machines[number] = process.mark.pid
    return machines


def end(cluster: ClusterDir) -> int:
    """End all processes of a cluster at once, and return their number. Those that stay are reported."""
    first = left = of(cluster)
    for _ in range(ROUNDS):  # one may have started another meanwhile
        if not left:
            break
        enders = [threading.Thread(target=process.mark.end, args=[GRACE]) for process in left]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
        left = of(cluster)
    for process in left:
        progress.say(f"warning: process {process.mark.pid} cannot be ended: {' '.join(process.argv)[:80]}")
    return len(first)


def _every(workspace: Workspace) -> Iterator[Process]:
    """The processes of all clusters of a workspace; never ours, nor those that have started us."""
    spared = _ancestors()
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid in spared:
            continue
        argv = tuple(os.fsdecode(word) for word in _words(folder / "cmdline"))
        owner = _owner(pid, argv, workspace.run)
        if owner and _sees(folder, workspace):
            mark = Mark.of(pid)
            if mark.running:
                yield Process(mark, argv, owner)


def _owner(pid: int, argv: Sequence[str], run: Path) -> str | None:
    """The name of the cluster in `run` that a process is for."""
    path = records.owner(pid)
    if path is not None:
        if os.path.realpath(path.parent) == os.path.realpath(run):
            return path.name
        return None if path.exists() else _logs_to(pid, run)
    return _named(argv, run) if _is_ours(argv) else None


def _logs_to(pid: int, run: Path) -> str | None:
    """The cluster in `run` that has the log of a process: this shows where a directory was moved to."""
    start = f"{os.path.realpath(run)}/"
    for number in (1, 2):
        try:
            log = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        if log.startswith(start):
            return log[len(start) :].partition("/")[0]
    return None


def _named(argv: Sequence[str], run: Path) -> str | None:
    """The name of the cluster whose directory, or something in it, is on a command line."""
    for start in {f"{os.path.abspath(run)}/", f"{os.path.realpath(run)}/"}:
        for word in argv:
            at = word.find(start)
            if at >= 0 and (at == 0 or word[at - 1] in "=:,"):
                name = re.split(r"[/,:]", word[at + len(start) :])[0]
                return name or None
    return None


def _is_ours(argv: Sequence[str]) -> bool:
    """Whether this is the command line of a program that is started for clusters."""
    if not argv:
        return False
    name = os.path.basename(argv[0])
    if name.startswith("python"):
        script = next((word for word in argv[1:] if not word.startswith("-")), "")
        return _SCRIPT.fullmatch(script) is not None
    if _MACHINE.fullmatch(name):
        return any(",process=vm-" in word for word in argv)
    return _SERVER.fullmatch(name) is not None


def _sees(folder: Path, workspace: Workspace) -> bool:
    """Whether the workspace is for this process what it is for us: in a container it may be another one."""
    root = workspace.root
    try:
        theirs = os.stat(f"{folder}/root{os.path.realpath(root)}")
        ours = os.stat(root)
    except FileNotFoundError:
        return not root.exists()
    except OSError:
        return False
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _ancestors() -> set[int]:
    """This process and those that have started it."""
    pids = set()
    pid = os.getpid()
    while pid > 0 and pid not in pids:
        pids.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return pids


def _words(path: Path) -> list[bytes]:
    """The words of a file in /proc; none when the process has gone, or is somebody else's."""
    try:
        return [word for word in path.read_bytes().split(b"\0") if word]
    except OSError:
        return []
