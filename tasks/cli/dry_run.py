"""`--dry-run`: tells what would be built and why, and what the verb would do then; nothing is done."""

import sys
from dataclasses import asdict
from importlib import import_module
from typing import Any

from tasks.base import output, progress
from tasks.engine import preview
from tasks.engine.preview import Pending
from tasks.project.command_line import Words
from tasks.project.project import ROOT, Project


def tell(names: list[str], words: Words) -> int:
    """Print the plan of tasks, or of the verb that they name. Returns the exit code."""
    pending = preview.pending(ROOT / "dodo.py", names)
    plan, lines = _plan(words)
    if words.json:
        output.as_json({"tasks": [asdict(each) for each in pending], "verb": words.verb, "plan": plan})
        return 0
    for each in pending:
        sys.stdout.write(_text(each))
    if not pending:
        sys.stdout.write("nothing would be built\n")
    if lines:
        sys.stdout.write(f"\nthen `xc {words.verb}` would do this:\n")
    for line in lines:
        sys.stdout.write(f"{line}\n")
    return 0


def announce(names: list[str]) -> None:
    """For `-v`: tell why tasks are going to run, before they do."""
    for each in preview.pending(ROOT / "dodo.py", names):
        progress.pending(each.task, each.why)


def _text(task: Pending) -> str:
    would = "" if task.certain else "perhaps: "
    return f"{task.task:<24} {would}{task.doc}\n" + "".join(f"{'':<24} because {why}\n" for why in task.why)


def _plan(words: Words) -> tuple[dict[str, Any], list[str]]:
    """What the verb would do after the builds, as its module says: for programs, and as lines for people."""
    if words.row is None or not words.row.module:
        return {}, []
    plans = getattr(import_module(words.row.module), "PLANS", {})
    if words.row.name not in plans:
        return {}, []
    facts_of, lines_of = plans[words.row.name]
    project: Project = import_module("dodo").project
    facts = dict(facts_of(project))
    return facts, list(lines_of(facts))
