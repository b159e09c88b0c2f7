"""A running cluster: found out each time, never remembered."""

from contextlib import AbstractContextManager

from tasks.base import files
from tasks.base.paths import ClusterDir, Workspace
from tasks.run.net import selection
from tasks.run.net.protocol import NetBackend
from tasks.run.node import qemu


def locked(workspace: Workspace, name: str) -> AbstractContextManager[None]:
    """Nobody else starts, changes, saves or stops this cluster meanwhile."""
    busy = f"another start, stop or checkpoint of cluster '{name}' is under way"
    return files.locked(workspace.cluster(name).lock, wait=False, busy=busy)


def backend_of(directory: ClusterDir) -> NetBackend:
    """What connects the nodes of a running cluster."""
    saved = files.read_json(directory.state).get("settings", {})
    return selection.get(saved.get("net", "userspace"), saved.get("net_setup", ""))


def running(directory: ClusterDir) -> dict[int, int]:
    """The nodes that run: number -> pid. Found out each time, never remembered."""
    numbers = [int(folder.name[3:]) for folder in sorted(directory.root.glob("vm-*"))]
    return {number: pid for number in numbers if (pid := qemu.BACKEND.pid(directory.node(number)))}
