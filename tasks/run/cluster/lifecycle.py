"""The verbs that start, change and end a cluster. What they start is built first, by the tasks before."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tasks.base import files, proc, progress
from tasks.base.errors import UsageError, UserError
from tasks.base.node_names import node_name, number_of
from tasks.definitions.roles import COLOUR, role_of
from tasks.definitions.schema import Node
from tasks.engine import kit
from tasks.engine.outcome import OUTCOME
from tasks.project import command_line
from tasks.project.project import Project
from tasks.run.cluster import checkpoints, checks, ending, iso_checks, launch, plan
from tasks.run.kubernetes import ready
from tasks.run.net.protocol import Ports
from tasks.run.running import reach
from tasks.run.running.cluster import backend_of, running
from tasks.run.services import dns
from tasks.topology import choice

STARTS = ("start", "starts", "k8s")
_FROM = {"from=": "a checkpoint to start from, instead of a boot"}
WITH_FROM = ("name", "wait", "xterm", "offline")  # settings that go with it
# Upstream looks for nodes up to these numbers; here it is known which ones there are.
_COUNTS = {f"{name}=": "not needed, for upstream's scripts" for name in ("nvm", "nrouters", "ntesters")}
VERBS: Mapping[str, command_line.Verb] = {
    "start": command_line.Verb(
        "start", "start a cluster, replacing a running one", options=_FROM, settings=True, builds=True
    ),
    "starts": command_line.Verb(
        "starts",
        "start a cluster, never with console windows",
        options=_FROM,
        settings=True,
        builds=True,
    ),
    "k8s": command_line.Verb(
        "k8s",
        "start a cluster of the image k8s, and wait until Kubernetes is ready",
        options=_FROM,
        defaults={"image": "k8s", "wait": "ready"},
        settings=True,
        builds=True,
    ),
    "scaleout": command_line.Verb(
        "scaleout",
        "add nodes to the running cluster",
        "N...",
        running=True,
        least=1,
        settings=True,
        builds=True,
    ),
    "scalein": command_line.Verb("scalein", "remove nodes from the running cluster", "N...", least=1),
    "stop": command_line.Verb("stop", "stop the cluster and leave nothing behind", options=_COUNTS),
    "status": command_line.Verb(
        "status",
        "the running nodes",
        options={
            "o=": "json",
            "all": "of every cluster",
            "quiet": "only the exit code: how many run",
            **_COUNTS,
        },
    ),
}


def tasks(project: Project, builds: list[str]) -> kit.Tasks:
    """The verbs of this module; `builds` are the tasks that make what a start needs."""
    does = {
        "start": _start,
        "starts": _start,
        "k8s": _start,
        "scaleout": _scaleout,
        "scalein": _scalein,
        "stop": _stop,
        "status": _status,
    }
    _refuse_early(project)
    for name, verb in VERBS.items():
        needed = builds if verb.builds and not _pointless(project, name) else ()
        yield kit.verb(verb, project.words, does[name], [project], needed)


def refuse_clean(project: Project, argv: list[str]) -> None:
    """Raise UserError when `clean` would remove what running nodes work on."""
    names = sorted(path.parent.name for path in project.workspace.run.glob("*/cluster.json"))
    if argv[:1] == ["clean"] and names:
        raise UserError(f"clusters are running: {', '.join(names)}", f"xc stop --name {names[0]}")


def _refuse_early(project: Project) -> None:
    """Raise UserError for a start that is going to be refused, before anything is built for it."""
    if project.words.verb == "scaleout":
        checks.before_builds(project.settings, project.workspace, _added(project), adds=True)
    elif project.words.verb in STARTS and "from" not in project.words.options:
        iso_checks.check_manifests(project)
        checks.before_builds(project.settings, project.workspace)


def _pointless(project: Project, name: str) -> bool:
    """Nothing needs to be built for a checkpoint: it is what it was."""
    return name in STARTS and "from" in project.words.options


def _start(project: Project) -> None:
    with _plan(project) as start:
        launch.start(start)
    if project.settings.wait == "ready":
        ready.wait(replace(project, settings=start.settings))
    if project.words.verb == "start" and project.settings.xterm:
        _windows(project)


@contextlib.contextmanager
def _plan(project: Project) -> Iterator[plan.Plan]:
    """The start that the words ask for: of the settings' cluster, or from a checkpoint."""
    name = project.words.options.get("from")
    if name is None:
        iso_checks.warn(project)
        yield plan.to_start(plan.survey(project.settings, project.workspace))
        return
    given = project.words.settings
    verb = VERBS[str(project.words.verb)]
    fixed = [key for key, value in given.items() if key not in WITH_FROM and verb.defaults.get(key) != value]
    if fixed:
        text = ", ".join(command_line.dashes(key) for key in fixed)
        raise UsageError(f"--from: a checkpoint has its own {text}", f"xc checkpoint restore {name}")
    with checkpoints.restorable(
        project.workspace, name, lambda saved: given.get("name", saved.cluster)
    ) as start:
        asked = start.settings.model_copy(update={"wait": project.settings.wait})
        yield replace(start, settings=asked)


def _windows(project: Project) -> None:
    """A console window for each node, where there is a display."""
    if not os.environ.get("DISPLAY") or not proc.find("xterm"):
        return
    for each in project.settings.nodes():
        own = project.workspace.cluster(project.settings.name).node(each.number)
        reach.window(own, each.name, reach.console_command(own, terminal=True), COLOUR[each.role])


def _scaleout(project: Project) -> None:
    settings = project.settings
    launch.add(plan.to_add(plan.survey(settings, project.workspace), _added(project)))
    if settings.wait == "ready" and settings.kubernetes:
        ready.wait(project)


def _added(project: Project) -> tuple[Node, ...]:
    """The nodes that `scaleout` names. UserError when the cluster cannot have them."""
    settings = project.settings
    alive = running(project.workspace.cluster(settings.name))
    if not alive:
        raise UserError(f"cluster '{settings.name}' is not running", "xc start")
    numbers = _numbers(project)
    twice = [number for number in numbers if number in alive]
    if twice:
        raise UserError(f"already there: {', '.join(map(str, twice))}")
    topology = project.definitions.topologies.get(settings.topology)
    lost = choice.homeless(topology, settings, tuple(numbers)) if topology else []
    if lost:
        raise UsageError("; ".join(lost))
    return tuple(settings.node(number) for number in numbers)


def _scalein(project: Project) -> None:
    directory = project.workspace.cluster(project.settings.name)
    with files.locked(directory.lock, wait=False, busy="another start or stop is under way"):
        for word in project.words.args:
            number = reach.node_number(project, word)
            ending.remove_node(directory, number)
            progress.say(f"{node_name(number)} removed")
    dns.refresh_if_possible(project.workspace)


def _numbers(project: Project) -> list[int]:
    numbers = []
    for word in project.words.args:
        try:
            numbers.append(number_of(word))
            role_of(numbers[-1])
        except ValueError as error:
            raise UsageError(f"scaleout: '{word}': {error}") from None
    return numbers


def _stop(project: Project) -> None:
    if not ending.stop(project.workspace, project.settings.name):
        progress.say(f"cluster '{project.settings.name}' is not running")


def _status(project: Project) -> None:
    kind = project.words.options.get("o", "")
    if kind not in ("", "json"):
        raise UsageError(f"-o: '{kind}' is not known (known: json)")
    if project.words.options.get("quiet"):
        OUTCOME.end_with(min(len(running(project.workspace.cluster(project.settings.name))), 255))
        return
    root = project.workspace.run
    names = sorted(path.parent.name for path in root.glob("*/cluster.json"))
    if not project.words.options.get("all"):
        names = [name for name in names if name == project.settings.name]
    clusters = [_describe(project, name) for name in names]
    if kind == "json":
        one = clusters[0] if clusters else None
        json.dump(clusters if project.words.options.get("all") else one, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    if not clusters:
        progress.say(f"cluster '{project.settings.name}' is not running")
    for each in clusters:
        sys.stdout.write(
            f"{each['name']}: kernel {each['kernel']}, image {each['image']}, "
            f"accel {each['accel']}, net {each['net']}\n"
        )
        for name in each["dead"]:
            sys.stdout.write(f"  nets: the {name} has died: xc stop, or xc start\n")
        for one in each["nodes"]:
            sys.stdout.write("  {name}  {role:<7} {state:<5} ssh {host}:{ssh}  pid {pid}\n".format_map(one))


def _describe(project: Project, name: str) -> dict[str, Any]:
    directory = project.workspace.cluster(name)
    state = files.read_json(directory.state)
    alive = running(directory)
    numbers = sorted(int(folder.name[3:]) for folder in directory.root.glob("vm-*"))
    backend = backend_of(directory)
    at = {number: backend.ssh(directory, number, Ports(**state["ports"])) for number in numbers}
    nodes = [
        {
            "name": f"vm-{number:03d}",
            "number": number,
            "role": role_of(number),
            "pid": alive.get(number),
            "state": "alive" if number in alive else "dead",
            "host": at[number][0],
            "ssh": at[number][1],
        }
        for number in numbers
    ]
    chosen = state["settings"]
    return {
        "name": name,
        "kernel": chosen["kernel"],
        "image": chosen["image"],
        "accel": state["accel"],
        "net": chosen["net"],
        "dead": [each for each, pid in backend.processes(directory).items() if pid is None],
        "started": state["started"],
        "nodes": nodes,
    }
