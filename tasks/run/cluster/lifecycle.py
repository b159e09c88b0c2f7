"""The verbs that start, change and end a cluster. What they start is built first, by the tasks before."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace

from tasks.base import locks, output, progress
from tasks.base.errors import UsageError, UserError
from tasks.base.node_names import node_name, number_of
from tasks.definitions.roles import role_of
from tasks.definitions.schema import Node
from tasks.project import command_line
from tasks.project.project import After, Does, Project
from tasks.run.cluster import checkpoints, checks, ending, foundations, iso_checks, launch, outlook, plan
from tasks.run.inspect import status
from tasks.run.running import absent, reach, windows
from tasks.run.running.cluster import Running, running
from tasks.run.services import dns
from tasks.topology import choice

STARTS = ("start", "starts", "k8s")
WITH_FROM = ("name", "wait", "xterm", "offline")  # settings that go with it


def refuse_clean(project: Project, argv: list[str]) -> None:
    """Raise UserError when `clean` would remove what running nodes work on."""
    names = [each.name for each in Running.all_left(project.workspace)] if argv[:1] == ["clean"] else []
    if names:
        raise UserError(
            f"clean would remove the files of running clusters: {', '.join(names)}",
            f"stop them first: xc stop --name={names[0]}",
        )


def _refuse_early(project: Project) -> None:
    """Raise UserError for a start that is going to be refused, before anything is built for it."""
    if project.settings.xterm and project.words.verb in ("start", "scaleout"):
        windows.check()
    if "from" not in project.words.options:
        foundations.refuse_foreign(project)
    if project.words.verb == "scaleout":
        checks.before_builds(project.settings, project.workspace, _added(project), adds=True)
    elif project.words.verb in STARTS and "from" not in project.words.options:
        iso_checks.check_manifests(project)
        checks.before_builds(project.settings, project.workspace)


def _built(project: Project, cluster: list[str]) -> list[str]:
    """The tasks before a start. Nothing is built for a checkpoint, which has all that it needs."""
    _refuse_early(project)
    return [] if "from" in project.words.options else cluster


def _start(project: Project) -> None:
    with _plan(project) as start:
        launch.start(start)
    if project.settings.wait == "ready":
        _wait_until_ready(replace(project, settings=start.settings))
    if project.words.json:
        output.as_json(status.facts(project.workspace, start.settings.name))
    if project.words.verb == "start" and project.settings.xterm and windows.possible():
        windows.consoles(start.workspace, start.settings.name, [node.number for node in start.nodes])


@contextlib.contextmanager
def _plan(project: Project) -> Iterator[plan.Plan]:
    """The start that the words ask for: of the settings' cluster, or from a checkpoint."""
    name = project.words.options.get("from")
    if name is None:
        iso_checks.warn(project)
        yield plan.to_start(plan.survey(project.settings, project.workspace))
        return
    options = project.words.settings
    usual = project.words.row.defaults if project.words.row else {}
    fixed = [key for key, value in options.items() if key not in WITH_FROM and usual.get(key) != value]
    if fixed:
        text = ", ".join(command_line.dashes(key) for key in fixed)
        raise UsageError(
            f"--from cannot be combined with {text}: the checkpoint has its own settings",
            f"restore it as it is: xc checkpoint restore {name}",
        )
    with checkpoints.restorable(
        project.workspace, name, lambda saved: options.get("name", saved.cluster)
    ) as start:
        settings = start.settings.model_copy(update={"wait": project.settings.wait})
        yield replace(start, settings=settings)


def _wait_until_ready(project: Project) -> None:
    from tasks.run.kubernetes import ready  # few starts need the libraries that come with it

    ready.wait(project)


def _scaleout(project: Project) -> None:
    settings = project.settings
    nodes = _added(project)
    iso_checks.warn_of_kernel(project, nodes)
    added = plan.to_add(plan.survey(settings, project.workspace, nodes), nodes)
    launch.add(added)
    if settings.xterm and windows.possible() and windows.are_used(added.directory):
        windows.consoles(added.workspace, settings.name, [node.number for node in added.nodes])
    if settings.wait == "ready" and settings.kubernetes:
        _wait_until_ready(project)
    if project.words.json:
        output.as_json(status.facts(project.workspace, settings.name))


def _added(project: Project) -> tuple[Node, ...]:
    """The nodes that `scaleout` names. UserError when the cluster cannot have them."""
    settings = project.settings
    alive = running(project.workspace.cluster(settings.name))
    if not alive:
        raise absent.error(project.workspace.run, settings.name)
    Running(project.workspace.cluster(settings.name)).check()
    numbers = _numbers(project)
    twice = [number for number in numbers if number in alive]
    if twice:
        raise UserError(
            f"{', '.join(map(node_name, twice))} {'is' if len(twice) == 1 else 'are'} running already"
        )
    topology = project.definitions.topologies.get(settings.topology)
    lost = choice.homeless(topology, settings, tuple(numbers)) if topology else []
    if lost:
        raise UsageError(f"scaleout: {'; '.join(lost)}")
    return tuple(settings.node_of(number) for number in numbers)


def _scalein(project: Project) -> None:
    if "dry_run" in project.words.options:
        _preview_scalein(project)
        return
    directory = project.workspace.cluster(project.settings.name)
    with locks.locked(directory.lock, wait=False, busy="another start or stop is under way"):
        for word in project.words.args:
            number = reach.node_number(project, word)
            ending.remove_node(directory, number)
            progress.say(f"{node_name(number)} removed")
    dns.refresh_if_possible(project.workspace)
    if project.words.json:
        output.as_json(status.facts(project.workspace, project.settings.name))


def _preview_scalein(project: Project) -> None:
    numbers = [reach.node_number(project, word) for word in project.words.args]
    if project.words.json:
        output.as_json({"cluster": project.settings.name, "removes": numbers})
    else:
        sys.stdout.write("".join(f"would remove {node_name(number)}\n" for number in numbers))


def _numbers(project: Project) -> list[int]:
    numbers = []
    for word in project.words.args:
        try:
            numbers.append(number_of(word))
            role_of(numbers[-1])
        except ValueError as error:
            raise UsageError(f"scaleout: '{word}': {error}") from None
    return numbers


DOES: Does = {"start": _start, "starts": _start, "k8s": _start, "scaleout": _scaleout, "scalein": _scalein}
PLANS = dict.fromkeys(("start", "starts", "k8s", "scaleout"), (outlook.of_start, outlook.lines))
AFTER: After = dict.fromkeys(("start", "starts", "k8s", "scaleout"), _built)
