"""A pretended internet for a cluster that has none: every name has one address, which answers http."""

import json
import sys

from tasks.base import progress
from tasks.base.errors import UsageError, UserError, unknown
from tasks.base.paths import NodeDir, Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.project.project import Does, Project
from tasks.run.net import fakenet_server
from tasks.run.node import filters, qmp
from tasks.run.running.cluster import Running, locked
from tasks.run.services import dns

FILTER = "fakenet"
BACKENDS = ("bridge", "userspace")  # net 0 of the other backends leads to unknown places


def _fakenet(project: Project) -> None:
    action = project.words.args[0]
    usage = project.words.usage
    if action not in ("start", "stop", "status"):
        raise UsageError(unknown("action", action, ("start", "stop", "status")), usage)
    if project.words.options.get("o", "json") != "json" or (project.words.options and action != "status"):
        raise UsageError("only 'fakenet status' takes -o json, and no other option exists", usage)
    directory = project.workspace.cluster(project.settings.name)
    if action == "status":
        on = fakenet_server.running(directory.fakenet)
        text = (
            json.dumps({"running": on, "address": fakenet_server.ADDRESS}) if project.words.options else None
        )
        sys.stdout.write(f"{text or ('running' if on else 'not running')}\n")
        return
    with locked(project.workspace, project.settings.name):
        if action == "start":
            _start(Running(project.workspace.cluster(project.settings.name)))
        elif running := Running.find(project.workspace, project.settings.name):
            _stop(running)
    dns.refresh_if_possible(project.workspace)


def preflight(settings: Settings) -> list[str]:
    """What keeps a cluster from having the pretended internet that its settings ask for."""
    return [f"fakenet: {why}" for why in _obstacles(settings)] if settings.fakenet else []


def _obstacles(settings: Settings) -> list[str]:
    problems = []
    if settings.net not in BACKENDS:
        problems.append(f"it works with --net={' or '.join(BACKENDS)}, and not with --net={settings.net}")
    if settings.dns == "off":
        problems.append("it needs a DNS server, and --dns=off is for none")
    return problems


def bring_up(settings: Settings, workspace: Workspace) -> None:
    """Start it for a cluster whose settings ask for it; and have it for added nodes where it runs already."""
    directory = workspace.cluster(settings.name)
    runs = fakenet_server.running(directory.fakenet)
    if runs and settings.net == "bridge":
        return  # it is there for all nodes
    if (settings.fakenet or runs) and _nodes(running := Running(directory)):
        _start(running)


def _start(running: Running) -> None:
    nodes, directory = _nodes(running), running.directory
    if not nodes:
        raise UserError(f"no node with net 0 runs in cluster '{running.name}'", "start it: xc start")
    settings = running.settings
    if problems := _obstacles(settings):
        raise UserError(
            f"fakenet in cluster '{running.name}': {'; '.join(problems)}", "start another cluster"
        )
    _stop(running)
    if settings.net == "bridge":
        fakenet_server.start_here(directory.fakenet, running.backend.inside(directory))
    else:
        _redirect(running, nodes)
    who = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    progress.say(f"every name now resolves to {fakenet_server.ADDRESS}, for {who}; `xc fakenet stop` ends it")


def _redirect(running: Running, nodes: list[tuple[Node, NodeDir]]) -> None:
    """Send the frames of net 0 through the program."""
    doors = [own.root / FILTER for _, own in nodes]

    async def redirect(index: int, monitor: qmp.Monitor) -> None:
        node = nodes[index][0]
        await filters.redirect(monitor, FILTER, f"net{node.nets.index(0)}", doors[index], ("out", "in"))

    fakenet_server.start(running.directory.fakenet, doors)
    try:
        qmp.each([own.qmp for _, own in nodes], redirect)
    except BaseException:
        _stop(running)
        raise


def _stop(running: Running) -> None:
    directory = running.directory
    if running.settings.net == "bridge":
        fakenet_server.end_here(directory.fakenet, running.backend.inside(directory))
        return

    async def remove(_: int, monitor: qmp.Monitor) -> None:
        await filters.remove(monitor, FILTER)

    qmp.each([own.qmp for _, own in _nodes(running)], remove)
    fakenet_server.end(directory.fakenet)


def _nodes(running: Running) -> list[tuple[Node, NodeDir]]:
    """The running nodes that are on net 0."""
    return [(node, running.node(node.number)) for node in running.alive_nodes() if 0 in node.nets]


DOES: Does = {"fakenet": _fakenet}
