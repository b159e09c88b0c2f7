"""What the user sees while tasks run: one line each on stderr."""

import sys
import time
from typing import Any

from doit.exceptions import TaskFailed
from doit.reporter import ConsoleReporter

from tasks.base import output, progress
from tasks.base.errors import UserError


class Reporter(ConsoleReporter):  # type: ignore[misc]
    """One line on stderr for each task that did something; stdout belongs to the data."""

    desc = "one line a task that ran, with its time"

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(sys.stderr, options)
        self._started: dict[str, float] = {}

    def execute_task(self, task: Any) -> None:
        """A task begins."""
        self._started[task.name] = time.monotonic()
        if task.actions and not _is_quiet(task):
            progress.begin(_name(task), task.doc or "")

    def add_success(self, task: Any) -> None:
        """A task ended well."""
        took = time.monotonic() - self._started.get(task.name, time.monotonic())
        if task.actions and not _is_quiet(task):
            progress.done(_name(task), took)

    def add_failure(self, task: Any, fail: Any) -> None:
        """A task failed: told as doit does."""
        progress.ended(_name(task))
        super().add_failure(task, fail)

    def skip_uptodate(self, task: Any) -> None:
        """Nothing to do is nothing to say."""

    def _write_failure(self, result: Any, write_exception: bool = True) -> None:
        fail = result["exception"]
        if isinstance(fail, TaskFailed):
            message, _, hint = fail.message.partition("\n  hint: ")
            output.error(UserError(message, hint or None), _name(result["task"]))
        else:
            super()._write_failure(result, write_exception)

    def complete_run(self) -> None:
        """Everything was said when it happened, but for doit's own errors."""
        for message in self.runtime_errors:
            progress.say(message)


def _name(task: Any) -> str:
    """The name of a task; for one that xcluster's word comes to, that word."""
    return str((task.meta or {}).get("told", task.name))


def _is_quiet(task: Any) -> bool:
    return bool(task.name.startswith("_") or (task.meta or {}).get("verb"))
