"""A pretended internet for a cluster that has none: every name is one address, which answers http."""

import json
import sys
from collections.abc import Mapping

from tasks import dns, launch
from tasks.lib import files, kit, progress, qmp, words
from tasks.lib.errors import UsageError, UserError, unknown
from tasks.lib.model import Node
from tasks.lib.paths import ClusterDir, NodeDir
from tasks.lib.project import Project
from tasks.net import fakenet
from tasks.node import filters

VERBS: Mapping[str, words.Verb] = {
    "fakenet": words.Verb(
        "fakenet",
        "pretend an internet: every name resolves, and http answers",
        "start|stop|status",
        {"o=": "status: json"},
        least=1,
        most=1,
    ),
}
FILTER = "fakenet"
BACKENDS = ("bridge", "userspace")  # of others it is not known where net 0 leads


def tasks(project: Project) -> kit.Tasks:
    """The verb of this module."""
    yield kit.verb(VERBS["fakenet"], project.words, _fakenet, [project])


def _fakenet(project: Project) -> None:
    action = project.words.args[0]
    usage = words.usage(VERBS["fakenet"])
    if action not in ("start", "stop", "status"):
        raise UsageError(unknown("action", action, ("start", "stop", "status")), usage)
    if project.words.options.get("o", "json") != "json" or (project.words.options and action != "status"):
        raise UsageError("-o json is for 'fakenet status', and nothing else is", usage)
    directory = project.workspace.cluster(project.settings.name)
    if action == "status":
        on = fakenet.running(directory.fakenet)
        text = json.dumps({"running": on, "address": fakenet.ADDRESS}) if project.words.options else None
        sys.stdout.write(f"{text or ('running' if on else 'not running')}\n")
        return
    with launch.locked(project.workspace, project.settings.name):
        if action == "start":
            _start(project, directory)
        else:
            _stop(directory)
    dns.refresh_if_possible(project.workspace)


def _start(project: Project, directory: ClusterDir) -> None:
    nodes = _nodes(directory)
    if not nodes:
        raise UserError(f"no node with net 0 runs in cluster '{project.settings.name}'", "xc start")
    settings = files.read_json(directory.state)["settings"]
    if settings["net"] not in BACKENDS:
        raise UserError(
            f"fakenet works with --net={' or '.join(BACKENDS)}, this cluster has {settings['net']}"
        )
    if settings.get("dns", "off") == "off":
        raise UserError("this cluster was started with --dns=off, so nothing would find the pretended names")
    _stop(directory)
    if settings["net"] == "bridge":
        fakenet.start_here(directory.fakenet, launch.backend_of(directory).inside(directory))
    else:
        _redirect(directory, nodes)
    progress.say(f"every name is {fakenet.ADDRESS} now, for {len(nodes)} nodes; `xc fakenet stop` ends it")


def _redirect(directory: ClusterDir, nodes: list[tuple[Node, NodeDir]]) -> None:
    """Frames of net 0 go through the program."""
    doors = [own.root / FILTER for _, own in nodes]

    async def redirect(index: int, monitor: qmp.Monitor) -> None:
        node = nodes[index][0]
        await filters.redirect(monitor, FILTER, f"net{node.nets.index(0)}", doors[index], ("out", "in"))

    fakenet.start(directory.fakenet, doors)
    try:
        qmp.each([own.qmp for _, own in nodes], redirect)
    except BaseException:
        _stop(directory)
        raise


def _stop(directory: ClusterDir) -> None:
    if files.read_json(directory.state).get("settings", {}).get("net") == "bridge":
        fakenet.end_here(directory.fakenet, launch.backend_of(directory).inside(directory))
        return

    async def remove(_: int, monitor: qmp.Monitor) -> None:
        await filters.remove(monitor, FILTER)

    qmp.each([own.qmp for _, own in _nodes(directory)], remove)
    fakenet.end(directory.fakenet)


def _nodes(directory: ClusterDir) -> list[tuple[Node, NodeDir]]:
    """The running nodes that are on net 0."""
    return [(node, directory.node(node.number)) for node in dns.nodes(directory) if 0 in node.nets]
