"""a running cluster ──stop──> nothing: no process, link, namespace or file of it is left"""

import sys
import threading

from tasks.base import files, output, proc, progress
from tasks.base.paths import ClusterDir, NodeDir, Workspace
from tasks.build.credentials import kubeconfig
from tasks.project.project import Does, Project
from tasks.run.node import qemu
from tasks.run.running.cluster import backend_of, locked, running
from tasks.run.services import dns


def stop(workspace: Workspace, name: str) -> bool:
    """Stop the cluster and remove all it left. Whether there was one; a cluster that is not there is fine."""
    directory = workspace.cluster(name)
    with locked(workspace, name):
        ran = stop_running(directory)
    dns.refresh_if_possible(workspace)
    return ran


def stop_running(directory: ClusterDir) -> bool:
    """End every node at once, then the nets, then remove the directory."""
    if not directory.root.exists():
        return False
    own = [NodeDir(state.parent) for state in directory.root.glob("*/node.json")]
    enders = [threading.Thread(target=_remove, args=[each]) for each in own]
    for ender in enders:
        ender.start()
    for ender in enders:
        ender.join()
    for state in (directory.fakenet, directory.dns / "server.json"):
        proc.kill_recorded(files.read_json(state))
    kubeconfig.leave(directory.kubeconfig)
    backend_of(directory).down(directory)
    files.remove(directory.root)
    return True


def remove_node(directory: ClusterDir, number: int) -> None:
    """End one node and remove what it left."""
    _remove(directory.node(number))
    backend_of(directory).unplug(directory, number)


def _remove(own: NodeDir) -> None:
    for pidfile in (*own.root.glob("*.window"), *own.root.glob("*.helper")):
        proc.kill_recorded(files.read_json(pidfile))
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
        sys.stdout.write("".join(f"would end vm-{number:03d}, pid {pid}\n" for number, pid in alive.items()))


DOES: Does = {"stop": _stop}
