"""this host, a workspace ──doctor --leftovers──> what is left that no cluster owns, and the end of it

Left by what was killed, or whose files were removed: processes of clusters whose directory is gone, in
whatever workspace that was, with their network namespaces; directories of clusters of which nothing runs;
taps in this namespace that no cluster uses; cgroups of nodes that have ended; and temporary files. What is
another user's is told, and not touched.
"""

import contextlib
import os
import pwd
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.base import cgroups, files, locks, proc
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.run.cluster import ending
from tasks.run.net import net_state
from tasks.run.running import processes
from tasks.run.running.cluster import Running
from tasks.run.running.processes import Stray

TAP = re.compile(r"xcbr\d+_t\d+")  # as bridge.py names them
TEMPORARY = re.compile(r"\.(.+)\.(\d+)\.tmp")  # as files.py names them; the number is the writer's
# Directories that have files of others, too many to look at, and of guests.
NOT_OURS = ("kbuild", "go", "source", "rootfs", "layer")


@dataclass(frozen=True)
class Leftover:
    """Something that is left. `end` ends or removes it; without it, it is another user's."""

    kind: str  # process, namespace, cluster, link, cgroup, file, lock
    what: str
    why: str
    end: Callable[[], object] | None


def every(workspace: Workspace) -> list[Leftover]:
    """All that is left on this host, and in this workspace."""
    strays = processes.strays()
    return [
        *map(_process, strays),
        *_namespaces(strays),
        *_clusters(workspace),
        *_links(workspace),
        *_cgroups(),
        *_files(workspace),
    ]


def remove(leftovers: list[Leftover]) -> None:
    """End and remove them. UserError for those that cannot be."""
    failures = []
    for each in leftovers:
        try:
            if each.end:
                each.end()
        except (UserError, OSError) as error:
            failures.append(f"{each.kind} {each.what}: {error}")
    if failures:
        raise UserError("not all could be removed:\n  " + "\n  ".join(failures))


def _process(stray: Stray) -> Leftover:
    pid = stray.process.mark.pid
    command = " ".join(stray.process.argv)[:60]
    why = f"of {stray.directory}, which is gone"
    if stray.user != os.getuid():
        return Leftover("process", f"{pid} {command}", f"{why}; it is {_name(stray.user)}'s", None)
    return Leftover("process", f"{pid} {command}", why, stray.process.mark.end)


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _namespaces(strays: list[Stray]) -> Iterator[Leftover]:
    """They end with the processes in them."""
    inside: dict[str, list[int]] = {}
    for stray in strays:
        pid = stray.process.mark.pid
        with contextlib.suppress(OSError):
            inside.setdefault(os.readlink(f"/proc/{pid}/ns/net"), []).append(pid)
    inside.pop(os.readlink("/proc/self/ns/net"), None)
    for name, pids in inside.items():
        yield Leftover("namespace", name, f"ends with processes {', '.join(map(str, pids))}", lambda: None)


def _clusters(workspace: Workspace) -> Iterator[Leftover]:
    for cluster in Running.every(workspace):
        directory = cluster.directory
        if not (processes.of(directory) or cluster.alive() or locks.is_held(directory.lock)):
            yield Leftover(
                "cluster",
                cluster.name,
                f"nothing of it runs; its files are in {directory.root}",
                lambda name=cluster.name: ending.stop(workspace, name),  # type: ignore[misc]
            )


def _links(workspace: Workspace) -> Iterator[Leftover]:
    """Taps of this network namespace that no cluster has, and no machine is connected to."""
    owned = {tap for each in Running.every(workspace) for tap in net_state.taps(each.directory)}
    for link in sorted(Path("/sys/class/net").glob("xcbr*_t*")):
        if TAP.fullmatch(link.name) and link.name not in owned and not _is_connected(link):
            command = ["ip", "link", "delete", "dev", link.name]
            yield Leftover(
                "link",
                link.name,
                "a tap that no cluster of this workspace has",
                lambda command=command: proc.output(command),  # type: ignore[misc]
            )


def _is_connected(link: Path) -> bool:
    try:
        return (link / "carrier").read_text().strip() == "1"
    except OSError:  # it is down
        return False


def _cgroups() -> Iterator[Leftover]:
    for group in cgroups.left(cgroups.all_places()):
        yield Leftover(
            "cgroup",
            str(group),
            "of a node that has ended",
            (lambda group=group: cgroups.removed(group)) if os.access(group.parent, os.W_OK) else None,  # type: ignore[misc]
        )


def _files(workspace: Workspace) -> Iterator[Leftover]:
    """Temporary files whose writer has ended, parts of downloads that nobody fetches, and locks of nobody."""
    for folder, folders, names in os.walk(workspace.root):
        here = Path(folder)
        for name in sorted(names + folders):
            why = _why(here / name)
            if why:
                kind = "lock" if name.endswith(".lock") else "file"
                path = here / name
                yield Leftover(kind, str(path), why, lambda path=path: files.remove(path))  # type: ignore[misc]
        folders[:] = [name for name in folders if name not in NOT_OURS and not TEMPORARY.fullmatch(name)]


def _why(path: Path) -> str:
    """Why a file is a leftover; "" if it is none."""
    temporary = TEMPORARY.fullmatch(path.name)
    if temporary:
        gone = not Path(f"/proc/{temporary[2]}").exists()
        return f"process {temporary[2]}, which wrote it, has ended" if gone else ""
    if path.name.endswith(".part") and not locks.is_held(path.with_name(f"{path.name}.lock")):
        return "a part of a download, with which the next one would go on"
    if path.name.endswith(".lock") and path.is_file() and not locks.is_held(path):
        return "a lock that no process holds"
    return ""
