"""a running cluster ──stop──> nothing: no process, link, namespace or file of it is left

What its files say is used as far as they can be read. What they do not say is found by what it is, so a
cluster can always be stopped: when files are damaged, of another version, or gone.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

from tasks.base import cgroups, files, output, progress, records, signals
from tasks.base.errors import UsageError, UserError
from tasks.base.node_names import node_name
from tasks.base.paths import ClusterDir, NodeDir, Workspace
from tasks.base.records import Damaged
from tasks.build.credentials import kubeconfig
from tasks.project.project import Does, Project
from tasks.run.net.protocol import Ports
from tasks.run.node import kinds
from tasks.run.running import absent, processes, state
from tasks.run.running.cluster import Running, locked, running
from tasks.run.services import dns

T = TypeVar("T")
MARKS = "marks"  # in XCLUSTER_TMP, the file of `xc mark`
HOOKED = "XC_HOOKED"  # is in the environment of what a hook runs


def stop(workspace: Workspace, name: str) -> bool:
    """Stop the cluster and remove all it left. Returns whether there was one; it is no error if not."""
    directory = workspace.cluster(name)
    if not workspace.root.exists() and not processes.of(directory):
        return False  # its name may be mistyped: nothing is made there, not even a lock
    with _locked_if_possible(workspace, name):
        ran = stop_running(directory)
        _tried(_clear, workspace.scripts(name))
    dns.refresh_if_possible(workspace)
    return ran


@signals.whole
def stop_running(directory: ClusterDir) -> bool:
    """End every node at once, then the nets, then all else that belongs to it; then remove the directory.

    What goes wrong with one part keeps nobody from ending the others. Raises UserError for something that is
    no directory: it is not ours, and stays; and for a directory that cannot be removed.
    """
    obstacle = state.obstacle(directory)
    if obstacle:
        processes.end(directory)
        raise obstacle
    there = directory.root.exists()
    if there:
        own = [NodeDir(path.parent) for path in directory.root.glob("*/node.json")]
        enders = [threading.Thread(target=_tried, args=[_remove, each]) for each in own]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
        for path in (directory.fakenet, directory.dns / "server.json"):
            records.end(path)
        _tried(kubeconfig.leave, directory.kubeconfig)
        _tried(_take_down, Running(directory))
    lost = processes.end(directory)
    _tried(cgroups.forget_cluster, directory.root)
    try:
        files.remove(directory.root)
    except OSError as error:
        where = error.filename or directory.root
        raise UserError(
            f"all processes of cluster '{directory.root.name}' have ended, but its files stay: "
            f"{where}: {error.strerror}",
            f"make {directory.root} writable, then: xc stop --name={directory.root.name}",
        ) from error
    return there or lost > 0


@contextlib.contextmanager
def _locked_if_possible(workspace: Workspace, name: str) -> Iterator[None]:
    """The lock of the cluster; none where no file can be made. A full disk keeps nobody from stopping."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(workspace, name))
        except files.Unwritable as error:
            progress.say(f"warning: without a lock: {error.message}")
        yield


def _tried(part: Callable[[T], object], thing: T) -> None:
    """Do a part of the end; what keeps it from being done is told."""
    try:
        part(thing)
    except (UserError, OSError) as error:
        progress.say(f"warning: {error}")


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
    cluster.cleaner.down(cluster.directory)


def _clear(folder: Path) -> None:
    """Remove what scripts left, but for the times that `xc mark` noted: those may be of several clusters."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name != MARKS:
            files.remove(path)
    if HOOKED not in os.environ:  # a hook that stops a cluster may go on, and was promised the directory
        with contextlib.suppress(OSError):
            folder.rmdir()


def _clear_others(workspace: Workspace, names: Collection[str]) -> None:
    """The same of all clusters but these."""
    for folder in workspace.scripts("x").parent.glob("*"):
        if folder.name not in names:
            _tried(_clear, folder)


def _remove(own: NodeDir) -> None:
    for pidfile in (*own.root.glob("*.window"), *own.root.glob("*.helper")):
        records.end(pidfile)
    kinds.BACKEND.stop(own)
    files.remove(own.root)


def _stop(project: Project) -> None:
    name = project.settings.name
    if "all" in project.words.options:
        _stop_all(project)
        return
    if "dry_run" in project.words.options:
        _preview(project)
        return
    stopped = stop(project.workspace, name)
    if project.words.json:
        output.as_json({"cluster": name, "stopped": stopped})
    elif not stopped:
        progress.say(absent.sentence(str(project.workspace.run), name))


def _stop_all(project: Project) -> None:
    """Stop every cluster of the workspace, of which files or processes are there."""
    if "name" in project.words.settings:
        raise UsageError("stop takes --all or --name, not both", project.words.usage)
    names = [each.name for each in Running.all_left(project.workspace)]
    outcomes: dict[str, UserError | None] = {}
    for name in names:
        try:
            if "dry_run" not in project.words.options:
                stop(project.workspace, name)
            outcomes[name] = None
        except UserError as error:
            outcomes[name] = error
    if "dry_run" not in project.words.options:
        _clear_others(project.workspace, names)
    if project.words.json:
        output.as_json([{"cluster": name, "stopped": error is None} for name, error in outcomes.items()])
    else:
        what = "would be stopped" if "dry_run" in project.words.options else "stopped"
        lines = [f"cluster '{name}' {what}" for name, error in outcomes.items() if error is None]
        for line in lines if names else ["no cluster is running"]:
            progress.say(line)
    failed = [error for error in outcomes.values() if error]
    if failed:
        raise UserError("\n".join(error.message for error in failed), failed[0].hint)


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
