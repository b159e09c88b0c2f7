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
    plan = _plan(words)
    if words.json:
        output.as_json({"tasks": [asdict(each) for each in pending], "verb": words.verb, "plan": plan})
        return 0
    for each in pending:
        sys.stdout.write(_text(each))
    if not pending:
        sys.stdout.write("nothing would be built\n")
    for key, value in plan.items():
        sys.stdout.write(_entry(key, value))
    return 0


def announce(names: list[str]) -> None:
    """For `-v`: tell why tasks are going to run, before they do."""
    for each in preview.pending(ROOT / "dodo.py", names):
        progress.pending(each.task, each.why)


def _text(task: Pending) -> str:
    would = "" if task.certain else "perhaps: "
    return f"{task.task:<24} {would}{task.doc}\n" + "".join(f"{'':<24} because {why}\n" for why in task.why)


def _entry(key: str, value: Any) -> str:
    """A part of a plan: in one line, or with a line for each thing that has values of its own."""
    if isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value):
        return f"{key}:\n" + "".join(f"  {_plain(each)}\n" for each in value)
    return f"{key}: {_plain(value)}\n"


def _plain(value: Any) -> str:
    """A value of a plan in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items() if each is not None)
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def _plan(words: Words) -> dict[str, Any]:
    """What the verb would do after the builds, as its module says."""
    if words.row is None or not words.row.module:
        return {}
    plans = getattr(import_module(words.row.module), "PLANS", {})
    project: Project = import_module("dodo").project
    return dict(plans[words.row.name](project)) if words.row.name in plans else {}
