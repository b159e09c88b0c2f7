"""a topology ──verify──> a cluster is started, all that the topology promises is tried, nothing is left

A cluster of its own is started by `xc starts`, as anybody would; so a start that fails is a finding too.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.base import files, interpreter, proc, progress
from tasks.base.errors import CommandError, UsageError, UserError, unknown
from tasks.base.node_names import node_name
from tasks.project.project import Does, Project
from tasks.run.running.cluster import Running, running
from tasks.run.verify import results, trial
from tasks.run.verify.results import Outcome, Result

ALL = "all"
CLUSTER = "verify"  # its name, unless one is given
OVERLAYS = "env network-topology iptools dns"  # with NAT and DNS on nodes, unless others are asked for


@dataclass(frozen=True)
class Verified:
    """A topology that is being verified."""

    project: Project
    topology: str
    cluster: str
    log: Path

    def xc(self, *words: str) -> None:
        """Run a verb for this cluster; CommandError with its last lines."""
        command = interpreter.xc(words[0], f"--name={self.cluster}", *words[1:])
        plain = {key: value for key, value in os.environ.items() if key not in ("TOPOLOGY", "__topology")}
        proc.run(command, cwd=self.project.root, log=self.log, env=plain, clean_env=True)


def _verify(project: Project) -> None:
    topologies = _topologies(project)
    name = project.words.settings.get("name", CLUSTER)
    if running(project.workspace.cluster(name)):
        raise UserError(
            f"cluster '{name}' is running, and verify starts one of its own",
            "name another cluster: --name=OTHER",
        )
    checks: list[Result] = []
    for topology in topologies:
        log = project.workspace.root / "log" / "verify" / f"{topology}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        own = _one(Verified(project, topology, name, log))
        progress.say(f"{topology}: {results.counts(own)}, {sum(each.seconds for each in own):.1f} s")
        checks += own
    _report(project, checks)


def _topologies(project: Project) -> list[str]:
    """The topologies by name; the one of the settings when none is named."""
    names = sorted(project.definitions.topologies)
    option = project.words.options.get("topology", "")
    named = [*project.words.args, *(word for word in option.split(",") if word)]
    if ALL in named:
        return names
    named = named or [project.settings.topology]
    faults = project.definitions.faults
    wrong = [line for word in named for line in faults.get(("topology", word), ())]
    wrong += [
        unknown("topology", word, [*names, ALL])
        for word in named
        if project.definitions.is_unknown("topology", word)
    ]
    if wrong:
        raise UsageError("; ".join(wrong))
    return named


def _one(it: Verified) -> list[Result]:
    """All checks of one topology. Its cluster is stopped in any case."""
    before = trial.marks(it.project, it.cluster)
    checks: list[Result] = []
    try:
        for name, outcome, text, seconds in _steps(it):
            checks.append(Result(it.topology, name, outcome, text, seconds))
            if outcome == "failed":
                progress.say(f"{it.topology}: {name}: {text.splitlines()[0] if text else 'failed'}")
    finally:
        if any(each.outcome == "failed" for each in checks):
            _keep_consoles(it)
        ended = _timed("stop", lambda: it.xc("stop"))
    checks.append(Result(it.topology, *ended))
    left = trial.left(it.project, it.cluster, before)
    checks.append(Result(it.topology, "nothing is left", "failed" if left else "ok", "\n".join(left)))
    return checks


def _steps(it: Verified) -> Iterator[tuple[str, Outcome, str, float]]:
    settings = {**_testers(it), **it.project.words.settings, "topology": it.topology}
    overlays = settings.pop("ovls", OVERLAYS).replace(",", " ").split()
    options = [f"--{key.replace('_', '-')}={value}" for key, value in settings.items() if key != "name"]
    packed = _timed("overlays", lambda: it.xc("mkcdrom", *overlays))
    yield packed
    if packed[1] != "ok":
        return
    start = _timed("start", lambda: it.xc("starts", *options))
    yield start
    if start[1] != "ok":
        return
    here = replace(it.project, settings=Running.get(it.project.workspace, it.cluster).settings)
    yield from trial.nodes(here)
    yield from trial.inside(here)
    yield from trial.outside(here)
    yield from _scaled(it, here)


def _testers(it: Verified) -> dict[str, str]:
    """One tester, where the topology has a place for testers but starts none by itself."""
    topology = it.project.definitions.topologies[it.topology]
    place = any(group.role == "tester" for group in topology.groups.values())
    return {"ntesters": "1"} if place and not topology.counts.ntesters else {}


def _scaled(it: Verified, here: Project) -> Iterator[tuple[str, Outcome, str, float]]:
    """Add a node, for which the promises must hold too, and remove it again."""
    number = trial.one_more(here)
    if number is None:
        yield "scaleout", "skipped", "the topology has no place for one more", 0.0
        return
    added = _timed(f"scaleout {number}", lambda: it.xc("scaleout", str(number)))
    yield added
    if added[1] == "ok":
        yield from trial.nodes(here, only=number)
    yield _timed(f"scalein {number}", lambda: it.xc("scalein", str(number)))
    there = number in running(here.workspace.cluster(it.cluster))
    yield f"{node_name(number)} is gone", "failed" if there else "ok", "it still runs" if there else "", 0.0


def _timed(name: str, act: Callable[[], object]) -> tuple[str, Outcome, str, float]:
    began = time.monotonic()
    try:
        act()
    except CommandError as error:
        return name, "failed", str(error), time.monotonic() - began
    return name, "ok", "", time.monotonic() - began


def _keep_consoles(it: Verified) -> None:
    """Copy the nodes' consoles to the log's directory, since the cluster is about to be removed."""
    cluster = Running(it.project.workspace.cluster(it.cluster))
    for own in (cluster.node(number) for number in cluster.numbers):
        if own.console_log.is_file():
            kept = it.log.with_name(f"{it.topology}-{own.root.name}.console.log")
            kept.write_bytes(own.console_log.read_bytes())


def _report(project: Project, checks: Sequence[Result]) -> None:
    junit = project.words.options.get("junit")
    if junit:
        with files.atomic(Path(junit).absolute()) as temp:
            temp.write_bytes(results.as_junit(checks))
    if project.words.options.get("o"):
        sys.stdout.write(results.as_json(checks))
    failed = [each for each in checks if each.outcome == "failed"]
    for each in checks:
        if each.outcome == "skipped":
            progress.say(f"{each.suite}: {each.name}: skipped, {each.text}")
    if failed:
        lines = [f"  {each.suite}: {each.name}: {each.text}" for each in failed[:20]]
        logs = project.workspace.root / "log" / "verify"
        raise UserError(
            f"{len(failed)} of {len(checks)} checks failed:\n" + "\n".join(lines), f"logs: {logs}"
        )
    progress.say(f"{len(checks)} checks: {results.counts(checks)}")


DOES: Does = {"verify": _verify}
