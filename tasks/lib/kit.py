"""The only module that knows doit: tasks as dictionaries, what is up to date, what the user sees."""

import dataclasses
import importlib
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from doit.dependency import MD5Checker
from doit.exceptions import TaskFailed
from doit.reporter import ConsoleReporter
from doit.tools import config_changed
from pydantic import BaseModel

from tasks.lib import files
from tasks.lib.errors import UserError
from tasks.lib.paths import Site, Workspace

Task = dict[str, Any]
Tasks = Iterator[Task]
LARGE = 8 << 20  # bytes; a larger file is checked by size and time


class SizedChecker(MD5Checker):  # type: ignore[misc]
    """Small files by content, large ones by size and modification time."""

    def check_modified(self, file_path: str, file_stat: os.stat_result, state: Any) -> bool:
        """Whether the file differs from what was recorded."""
        if file_stat.st_size <= LARGE:
            return bool(super().check_modified(file_path, file_stat, state))
        return tuple(state) != (file_stat.st_mtime, file_stat.st_size, "large")

    def get_state(self, dep: str, current_state: Any) -> Any:
        """What to record of a file; None when it is as recorded."""
        stat = os.stat(dep)
        if stat.st_size <= LARGE:
            return super().get_state(dep, current_state)
        state = (stat.st_mtime, stat.st_size, "large")
        return None if current_state and tuple(current_state) == state else state


class Encoder(json.JSONEncoder):
    """Definitions and paths as JSON, for the digest that says whether a task's inputs changed."""

    def default(self, value: Any) -> Any:
        """Anything json does not know."""
        if isinstance(value, (Site, Workspace)):
            return None  # where a thing is built does not change it
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.asdict(value)
        return str(value)


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
            self.write(f"{task.name:<24} {task.doc or ''}\n")

    def add_success(self, task: Any) -> None:
        """A task ended well."""
        took = time.monotonic() - self._started.get(task.name, time.monotonic())
        if task.actions and not _is_quiet(task) and took >= 1:
            self.write(f"{task.name:<24} done in {took:.1f} s\n")

    def skip_uptodate(self, task: Any) -> None:
        """Nothing to do is nothing to say."""

    def _write_failure(self, result: Any, write_exception: bool = True) -> None:
        fail = result["exception"]
        if isinstance(fail, TaskFailed):
            self.write(f"error: {result['task'].name}: {fail.message}\n")
        else:
            super()._write_failure(result, write_exception)

    def complete_run(self) -> None:
        """Everything was said when it happened, but for doit's own errors."""
        for message in self.runtime_errors:
            self.write(f"{message}\n")


def _is_quiet(task: Any) -> bool:
    return task.name.startswith("_") or (task.meta or {}).get("verb", False)


def task(
    name: str | None,
    func: Callable[..., None],
    args: Iterable[Any],
    *,
    targets: Iterable[Path] = (),
    deps: Iterable[Path] = (),
    inputs: Mapping[str, Any] | None = None,
    code: Iterable[ModuleType] = (),
    after: Iterable[str] = (),
    basename: str | None = None,
) -> Task:
    """A build task: `func(*args)`, run when an argument, an input, a dep, a target or its own code changed.

    `deps` are files whose content counts, `inputs` other values that count; `code` more modules whose source
    counts (the function's own always does); `after` tasks that only have to come first.
    """
    arguments = list(args)
    modules = [inspect.getmodule(func), *code]
    sources = [Path(module.__file__) for module in modules if module and module.__file__]
    made: Task = {
        "actions": [(_as_task_result, [func, arguments])],
        "targets": [str(target) for target in targets],
        "file_dep": [str(dep) for dep in {*deps, *sources}],
        "uptodate": [config_changed({"args": arguments, "inputs": inputs or {}}, encoder=Encoder)],
        "task_dep": list(after),
        "clean": [(_clean, [[Path(target) for target in targets]])],
        "doc": _first_line(func),
        "io": {"capture": False},
        "verbosity": 2,
    }
    return _named(made, name, basename)


def verb(name: str, func: Callable[..., None], args: Iterable[Any], *, doc: str, after: Iterable[str] = ()) -> Task:
    """A task that acts and is never up to date; its words were read before, doit only has to accept them."""
    return {
        "basename": name,
        "actions": [(_as_task_result, [func, list(args)])],
        "uptodate": [False],
        "task_dep": list(after),
        "doc": doc,
        "io": {"capture": False},
        "verbosity": 2,
        "meta": {"verb": True},
    }


def accepting(made: Task, words: Iterable[str], options: Iterable[str]) -> Task:
    """`made`, as a task whose options and words doit accepts on its command line."""
    params = [
        {"name": f"opt_{name}", "long": name.replace("_", "-"), "default": "", "help": "see xc help"}
        for name in options
    ]
    return {**made, "params": params, **({"pos_arg": "words"} if any(True for _ in words) else {})}


def group(basename: str, doc: str) -> Task:
    """The line that stands for all sub-tasks in `doit list`."""
    return {"basename": basename, "name": None, "doc": doc}


def config(db: Path, default_tasks: list[str]) -> dict[str, Any]:
    """doit's settings. Sequential on purpose: each recipe uses all cores by itself."""
    return {
        "backend": "sqlite3",
        "dep_file": str(db),
        "default_tasks": default_tasks,
        "check_file_uptodate": SizedChecker,
        "reporter": Reporter,
        "cleanforget": True,
        "cleanall": True,
        "minversion": "0.37.0",
        "action_string_formatting": "new",
    }


def run(dodo: Path, words: list[str]) -> int:
    """Let doit do `words` with the tasks of `dodo`; its exit code 3 (wrong words) is our 2."""
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    module = importlib.import_module(dodo.stem)
    code = DoitMain(ModuleTaskLoader(module), config_filenames=()).run(words)
    return {None: 0, 3: 2}.get(code, code)


def save_state_on_sigterm() -> None:
    """doit writes its state at the end; SIGTERM must come to that end, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _named(made: Task, name: str | None, basename: str | None) -> Task:
    if name is not None:
        made["name"] = name
    if basename is not None:
        made["basename"] = basename
    return made


def _first_line(func: Callable[..., None]) -> str:
    return (func.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _as_task_result(func: Callable[..., None], args: list[Any]) -> TaskFailed | None:
    try:
        func(*args)
    except UserError as error:
        return TaskFailed(str(error))
    return None


def _clean(targets: list[Path], dryrun: bool = False) -> None:
    for target in targets:
        if dryrun:
            print(f"would remove {target}")
        else:
            files.remove(target)
