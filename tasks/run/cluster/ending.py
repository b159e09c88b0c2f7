"""a running cluster ──stop──> nothing: no process, link, namespace or file of it is left

What its files say is used as far as they can be read. What they do not say is found by what it is, so a
cluster can always be stopped: when files are damaged, of another version, or gone.
"""

import sys
import threading

from tasks.base import files, output, progress, records, signals
from tasks.base.errors import UserError
from tasks.base.node_names import node_name
from tasks.base.paths import ClusterDir, NodeDir, Workspace
from tasks.base.records import Damaged
from tasks.build.credentials import kubeconfig
from tasks.project.project import Does, Project
from tasks.run.net.protocol import Ports
from tasks.run.node import qemu
from tasks.run.running import processes, state
from tasks.run.running.cluster import Running, locked, running
from tasks.run.services import dns


def stop(workspace: Workspace, name: str) -> bool:
    """Stop the cluster and remove all it left. Returns whether there was one; it is no error if not."""
    directory = workspace.cluster(name)
    with locked(workspace, name):
        ran = stop_running(directory)
    dns.refresh_if_possible(workspace)
    return ran


@signals.whole
def stop_running(directory: ClusterDir) -> bool:
    """End every node at once, then the nets, then all else that belongs to it; then remove the directory.

    Raises UserError for something that is no directory: it is not ours, and stays.
    """
    obstacle = state.obstacle(directory)
    if obstacle:
        processes.end(directory)
        raise obstacle
    there = directory.root.exists()
    if there:
        own = [NodeDir(path.parent) for path in directory.root.glob("*/node.json")]
        enders = [threading.Thread(target=_remove, args=[each]) for each in own]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
        for path in (directory.fakenet, directory.dns / "server.json"):
            records.end(path)
        kubeconfig.leave(directory.kubeconfig)
        _take_down(Running(directory))
    lost = processes.end(directory)
    files.remove(directory.root)
    return there or lost > 0


@signals.whole
def remove_node(directory: ClusterDir, number: int) -> None:
    """End one node and remove what it left."""
    cluster = Running(directory)
    pid = cluster.pid(number)
    _remove(directory.node(number))
    if pid:  # the file of a node may not say it
        records.Mark.of(pid).end()
    cluster.cleaner.unplug(directory, number, _ports(cluster))


def _ports(cluster: Running) -> Ports | None:
    """Where its forwards begin; None when that is not known any more."""
    try:
        return cluster.ports
    except Damaged:
        return None


def _take_down(cluster: Running) -> None:
    """Remove the nets; what cannot be removed keeps nobody from stopping."""
    try:
        cluster.cleaner.down(cluster.directory)
    except UserError as error:
        progress.say(f"warning: {error}")


def _remove(own: NodeDir) -> None:
    for pidfile in (*own.root.glob("*.window"), *own.root.glob("*.helper")):
        records.end(pidfile)
    qemu.BACKEND.stop(own)
    files.remove(own.root)


def _stop(project: Project) -> None:
    name = project.settings.name
    if "dry_run" in project.words.options:
        _preview(project)
        return
    stopped = stop(project.workspace, name)
    if project.words.json:
        output.as_json({"cluster": name, "stopped": stopped})
    elif not stopped:
        progress.say(f"cluster '{name}' is not running")


def _preview(project: Project) -> None:
    """What `stop` would end."""
    name = project.settings.name
    alive = running(project.workspace.cluster(name))
    if project.words.json:
        output.as_json({"cluster": name, "ends": alive})
    else:
        sys.stdout.write(
            "".join(f"would end {node_name(number)}, pid {pid}\n" for number, pid in alive.items())
        )


DOES: Does = {"stop": _stop}
