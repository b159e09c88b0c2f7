"""The tasks of dodo.py for doit, after a look whether those that the command line names are there."""

import fnmatch
from typing import Any

from doit.cmd_base import ModuleTaskLoader

from tasks.base.errors import UsageError, nearest, unknown

# Words of doit whose args are tasks, and whether they may be targets too.
TARGETS_TOO = {
    "run": True,
    "clean": False,
    "forget": False,
    "ignore": False,
    "info": False,
    "list": False,
    "reset-dep": False,
}


class Loader(ModuleTaskLoader):  # type: ignore[misc]
    """As doit's; `problem` is set when a task is named that is not there."""

    problem: UsageError | None = None

    def load_tasks(self, cmd: Any, pos_args: list[str]) -> list[Any]:
        """All tasks. Ends the run for a name that none has; doit itself would name no other."""
        tasks: list[Any] = super().load_tasks(cmd, pos_args)
        if cmd.get_name() in TARGETS_TOO:
            self.problem = _problem(tasks, pos_args, targets_too=TARGETS_TOO[cmd.get_name()])
        if self.problem:
            raise SystemExit(self.problem.exit_code)
        return tasks


def check(tasks: list[Any], words: list[str], *, targets_too: bool) -> None:
    """Raise UsageError for a word that names no task, and no target where these may be named."""
    problem = _problem(tasks, words, targets_too=targets_too)
    if problem:
        raise problem


def _problem(tasks: list[Any], words: list[str], *, targets_too: bool) -> UsageError | None:
    by_name = {task.name: task for task in tasks}
    targets = {target for task in tasks if targets_too for target in task.targets}
    for word in words:
        if word.startswith("-"):
            problem = f"unknown option '{word}' behind a task: the options of doit stand before it"
            return UsageError(problem, "xc help run")
        if word in by_name or word in targets:
            pass
        elif "*" not in word:
            return UsageError(_unknown(word, by_name), "xc list --all")
        elif not fnmatch.filter(by_name, word):
            return UsageError(f"no task has a name as '{word}'", "xc list --all")
        if word in by_name and by_name[word].pos_arg:
            return None  # what follows are its own words
    return None


def _unknown(word: str, by_name: dict[str, Any]) -> str:
    names = [name for name in by_name if not name.startswith("_")]
    noun, colon, _ = word.partition(":")
    siblings = [name for name in names if name.startswith(f"{noun}:")]
    near = colon and siblings and nearest(word, siblings)
    return unknown("task", word, siblings if near or (siblings and len(siblings) < 9) else names)
