"""What a run would build, in which order, and why: doit is asked, and nothing is done."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doit.control import TaskControl
from doit.dependency import Dependency, SqliteDB
from doit.loader import load_tasks

from tasks.engine.fresh import SizedChecker
from tasks.engine.loader import check

# What doit calls a reason, in words; {} is the first of the things that it names.
WORDS = {
    "missing_target": "{} does not exist",
    "missing_file_dep": "{} is made before",
    "changed_file_dep": "{} changed",
    "added_file_dep": "{} is a new input",
    "removed_file_dep": "{} is not an input any more",
    "uptodate_false": "what it is made from changed, or it was never made",
    "checker_changed": "files are compared in another way now",
    "has_no_dependencies": "it has no dependencies, so it always runs",
}


@dataclass(frozen=True)
class Pending:
    """A task that would run; one that is not `certain` runs if what is made before comes out different."""

    task: str
    doc: str
    why: tuple[str, ...]
    certain: bool


def pending(dodo: Path, names: list[str]) -> list[Pending]:
    """The tasks that would run for `names`, in order. Raises UsageError for a name that is not there."""
    module = importlib.import_module(dodo.stem)
    tasks = load_tasks(vars(module), ())
    check(tasks, names, targets_too=True)
    control = TaskControl(tasks)
    control.process(names)
    state = Dependency(SqliteDB, module.DOIT_CONFIG["dep_file"], SizedChecker)
    try:
        return list(_pending(control, state))
    finally:
        state.close()


def _pending(control: TaskControl, state: Dependency) -> Iterator[Pending]:
    outputs: dict[str, str] = {}  # what would be made -> by which task
    for task in _in_order(control):
        if not task.actions or (task.meta or {}).get("verb"):
            continue
        status = state.get_status(task, control.tasks, get_log=True)
        before = sorted({outputs[path] for path in task.file_dep if path in outputs})
        if status.status == "up-to-date" and not before:
            continue
        why = reasons(status.reasons) if status.status != "up-to-date" else []
        why += [] if why else [f"{name} is made before, and may come out different" for name in before]
        yield Pending(task.name, task.doc or "", tuple(why), status.status != "up-to-date")
        outputs |= dict.fromkeys(task.targets, task.name)


def _in_order(control: TaskControl) -> list[Any]:
    """The selected tasks and all that they depend on, each after those."""
    order: dict[str, Any] = {}

    def visit(name: str) -> None:
        task = control.tasks[name]
        for other in task.task_dep:
            if other not in order:
                visit(other)
        order.setdefault(name, task)

    for name in control.selected_tasks:
        visit(name)
    return list(order.values())


def reasons(kinds: Mapping[str, Any]) -> list[str]:
    """doit's reasons in words, one each."""
    lines = []
    for kind, things in kinds.items():
        if isinstance(things, list | tuple) and kind.endswith("file_dep"):
            things = sorted(things, key=str)  # doit gives these in another order each time
        first = things[0] if isinstance(things, list | tuple) and things else ""
        text = WORDS.get(kind, kind).format(Path(str(first)).name if kind != "uptodate_false" else "")
        more = len(things) - 1 if isinstance(things, list | tuple) and kind != "uptodate_false" else 0
        lines.append(text + (f" (and {more} more)" if more > 0 else ""))
    return lines
