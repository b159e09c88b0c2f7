"""The verbs that start, change and end a cluster. What they start is built first, by the tasks before."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace

from tasks.base import files, output, proc, progress
from tasks.base.errors import UsageError, UserError
from tasks.build.containers import store
from tasks.build.overlay import iso, ovl
from tasks.definitions import image_chain, iso_choice
from tasks.definitions.schema import Overlay
from tasks.definitions.settings import PLAIN_TOPOLOGY, role_of
from tasks.project import command_line
from tasks.project.project import After, Does, Project
from tasks.run.cluster import checkpoints, ending, launch, outlook, plan
from tasks.run.inspect import status
from tasks.run.kubernetes import manifests, ready
from tasks.run.running import reach
from tasks.run.running.cluster import running
from tasks.run.services import dns
from tasks.topology import check, choice
from tasks.topology.schema import Topology

WARNINGS = 5  # of one topology
_FROM = {"from=": "a checkpoint to start from, instead of a boot"}
WITH_FROM = ("name", "wait", "xterm", "offline")  # settings that go with it
# Upstream looks for nodes up to these numbers; here it is known which ones there are.
_COUNTS = {f"{name}=": "not needed, for upstream's scripts" for name in ("nvm", "nrouters", "ntesters")}


def refuse_clean(project: Project, argv: list[str]) -> None:
    """Raise UserError when `clean` would remove what running nodes work on."""
    names = sorted(path.parent.name for path in project.workspace.run.glob("*/cluster.json"))
    if argv[:1] == ["clean"] and names:
        raise UserError(f"clusters are running: {', '.join(names)}", f"xc stop --name {names[0]}")


def _start(project: Project) -> None:
    with _plan(project) as made:
        if project.settings.wait == "ready" and not made.settings.kubernetes:
            raise UsageError("--wait=ready: this cluster is without Kubernetes", "xc start --image=k8s")
        launch.start(made)
    if project.settings.wait == "ready":
        ready.wait(replace(project, settings=made.settings))
    if project.words.json:
        output.as_json(status.facts(project.workspace, made.settings.name))
    if project.words.verb == "start" and project.settings.xterm:
        _windows(project)


@contextlib.contextmanager
def _plan(project: Project) -> Iterator[plan.Plan]:
    """The start that the words ask for: of the settings' cluster, or from a checkpoint."""
    name = project.words.options.get("from")
    if name is None:
        _warn(project)
        _check_manifests(project)
        yield plan.to_start(project.settings, project.workspace)
        return
    given = project.words.settings
    usual = project.words.row.defaults if project.words.row else {}
    fixed = [key for key, value in given.items() if key not in WITH_FROM and usual.get(key) != value]
    if fixed:
        text = ", ".join(command_line.dashes(key) for key in fixed)
        raise UsageError(f"--from: a checkpoint has its own {text}", f"xc checkpoint restore {name}")
    with checkpoints.restorable(
        project.workspace, name, lambda saved: given.get("name", saved.cluster)
    ) as made:
        yield made


def _warn(project: Project) -> None:
    """Counts that a topology is not made for may be meant, but break what it promises."""
    topology = project.definitions.topologies.get(project.settings.topology)
    packed = iso_choice.recorded(project.workspace.choice(project.settings.name))
    given = choice.given(project.settings, packed=packed.env if packed else {})
    found = check.in_cluster(topology, given) if topology else []
    found = found[:WARNINGS] + (_not_packed(project, topology) if topology else [])
    for problem in found:
        progress.say(f"warning: topology {project.settings.topology}: {problem}")


def _not_packed(project: Project, topology: Topology) -> list[str]:
    """Guests read about a topology in the overlay that brings it."""
    if topology.name == PLAIN_TOPOLOGY:
        return []
    if any(overlay.directory == topology.directory for overlay in _unpacked(project, iso.choose(project))):
        return []
    own = topology.directory.name
    return [f"its overlay {own} is not on the ISO: xc mkcdrom env network-topology {own}"]


def _unpacked(project: Project, packed: iso_choice.Choice) -> list[Overlay]:
    """The overlays of the ISO and of the image."""
    found = [part.overlay for part in iso.parts(project, packed) if part.overlay]
    chain = image_chain.chain(project.definitions.images, project.settings.image)
    return found + ovl.of_images(project, chain)


def _check_manifests(project: Project) -> None:
    """Pods must not wait for what nobody brings."""
    if project.settings.kubernetes:
        packed = iso.choose(project)
        overlays = _unpacked(project, packed)
        chain = image_chain.chain(project.definitions.images, project.settings.image)
        have = store.names([*chain, *overlays])
        made_here = not any(image.disk for image in chain)
        manifests.check(overlays, packed.setup, have, offline=project.settings.offline, all_known=made_here)


def _windows(project: Project) -> None:
    """A console window for each node, where there is a display."""
    if not os.environ.get("DISPLAY") or not proc.find("xterm"):
        return
    for each in project.settings.nodes():
        own = project.workspace.cluster(project.settings.name).node(each.number)
        reach.window(
            own, each.name, reach.console_command(own, terminal=True), reach.WINDOW_COLOUR[each.role]
        )


def _scaleout(project: Project) -> None:
    directory = project.workspace.cluster(project.settings.name)
    there = running(directory)
    if not there:
        raise UserError(f"cluster '{project.settings.name}' is not running", "xc start")
    numbers = _numbers(project)
    twice = [number for number in numbers if number in there]
    if twice:
        raise UserError(f"already there: {', '.join(map(str, twice))}")
    settings = project.settings
    topology = project.definitions.topologies.get(settings.topology)
    lost = choice.homeless(topology, settings, tuple(numbers)) if topology else []
    if lost:
        raise UsageError("; ".join(lost))
    launch.add(plan.to_start(settings, project.workspace, tuple(settings.node(number) for number in numbers)))
    if settings.wait == "ready" and settings.kubernetes:
        ready.wait(project)
    if project.words.json:
        output.as_json(status.facts(project.workspace, settings.name))


def _scalein(project: Project) -> None:
    if "dry_run" in project.words.options:
        _preview_scalein(project)
        return
    directory = project.workspace.cluster(project.settings.name)
    with files.locked(directory.lock, wait=False, busy="another start or stop is under way"):
        for word in project.words.args:
            number = reach.node_number(project, word)
            ending.remove_node(directory, number)
            progress.say(f"vm-{number:03d} removed")
    dns.refresh_if_possible(project.workspace)
    if project.words.json:
        output.as_json(status.facts(project.workspace, project.settings.name))


def _preview_scalein(project: Project) -> None:
    numbers = [reach.node_number(project, word) for word in project.words.args]
    if project.words.json:
        output.as_json({"cluster": project.settings.name, "removes": numbers})
    else:
        sys.stdout.write("".join(f"would remove vm-{number:03d}\n" for number in numbers))


def _numbers(project: Project) -> list[int]:
    numbers = []
    for word in project.words.args:
        try:
            numbers.append(int(word.removeprefix("vm-")))
            role_of(numbers[-1])
        except ValueError as error:
            raise UsageError(f"scaleout: '{word}': {error}") from None
    return numbers


def _built(project: Project, cluster: list[str]) -> list[str]:
    """Nothing needs to be built for a checkpoint, or for what is going to be refused."""
    if "from" in project.words.options:
        return []  # it is what it was
    own = project.workspace.cluster(project.settings.name)
    return [] if project.words.verb == "scaleout" and not running(own) else cluster


DOES: Does = {"start": _start, "starts": _start, "k8s": _start, "scaleout": _scaleout, "scalein": _scalein}
PLANS = dict.fromkeys(("start", "starts", "k8s", "scaleout"), outlook.of_start)
AFTER: After = dict.fromkeys(("start", "starts", "k8s", "scaleout"), _built)
