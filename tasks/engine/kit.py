"""The only module that knows doit: tasks as dictionaries, what is up to date, what the user sees."""

import dataclasses
import importlib
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from doit.dependency import MD5Checker
from doit.exceptions import TaskFailed
from doit.reporter import ConsoleReporter
from doit.tools import config_changed
from pydantic import BaseModel

from tasks.base import files, output, progress
from tasks.base.errors import UserError
from tasks.base.paths import Site, Workspace
from tasks.engine.loader import Loader
from tasks.project.command_line import Verb, Words

Task = dict[str, Any]
Tasks = Iterator[Task]
_exit_code = 0  # of the task that failed; doit knows only 1
LARGE = 8 << 20  # bytes; a larger file is checked by size and time


class SizedChecker(MD5Checker):  # type: ignore[misc]
    """Small files by content, large ones by size and modification time."""

    def check_modified(self, file_path: str, file_stat: os.stat_result, state: Any) -> bool:
        """Whether the file differs from what was recorded."""
        if file_stat.st_size <= LARGE:
            return bool(super().check_modified(file_path, file_stat, state))
        return bool(tuple(state) != (file_stat.st_mtime, file_stat.st_size, "large"))

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
        if isinstance(value, (Site, Workspace)) or getattr(value, "NO_INPUT", False):
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
            progress.begin(task.name, task.doc or "")

    def add_success(self, task: Any) -> None:
        """A task ended well."""
        took = time.monotonic() - self._started.get(task.name, time.monotonic())
        if task.actions and not _is_quiet(task):
            progress.done(task.name, took)

    def skip_uptodate(self, task: Any) -> None:
        """Nothing to do is nothing to say."""

    def _write_failure(self, result: Any, write_exception: bool = True) -> None:
        fail = result["exception"]
        if isinstance(fail, TaskFailed):
            message, _, hint = fail.message.partition("\n  hint: ")
            output.error(UserError(message, hint or None), result["task"].name)
        else:
            super()._write_failure(result, write_exception)

    def complete_run(self) -> None:
        """Everything was said when it happened, but for doit's own errors."""
        for message in self.runtime_errors:
            progress.say(message)


def _is_quiet(task: Any) -> bool:
    return bool(task.name.startswith("_") or (task.meta or {}).get("verb"))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a build task does, and everything that decides what comes out.

    `func(*args)` runs again when an argument, an input, the content of a dep, or its code changed: the
    function's own module, and those in `code`.
    """

    func: Callable[..., None]
    args: Sequence[Any]
    deps: Iterable[Path] = ()
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    code: Iterable[ModuleType] = ()

    def sources(self) -> list[Path]:
        """The files of the code that counts."""
        modules = [inspect.getmodule(self.func), *self.code]
        return [Path(module.__file__) for module in modules if module and module.__file__]


def task(
    basename: str, name: str | None, recipe: Recipe, targets: Iterable[Path], also: Iterable[Path] = ()
) -> Task:
    """The task `basename:name` (or just `basename`) that makes `targets`.

    `clean` removes these, and the work directories and caches in `also`.
    """
    made = [Path(target) for target in targets]
    named = {"basename": basename} if name is None else {"basename": basename, "name": name}
    config = {"args": recipe.args, "inputs": recipe.inputs}
    return named | {
        "actions": [(_as_task_result, [recipe.func, list(recipe.args)])],
        "targets": [str(target) for target in made],
        "file_dep": list(dict.fromkeys(str(dep) for dep in [*recipe.deps, *recipe.sources()])),
        "uptodate": [config_changed(config, encoder=Encoder)],
        "meta": {"config": config},
        "clean": [(_clean, [[*made, *also]])],
        "doc": _first_line(recipe.func),
        "io": {"capture": False},
        "verbosity": 2,
    }


def leftovers(name: str, paths: Callable[[], list[Path]]) -> Task:
    """A task that does nothing; `clean` removes what `paths` finds then."""
    return {
        "basename": name,
        "actions": None,
        "clean": [(_clean_found, [paths])],
        "doc": "what clean removes last",
    }


def alias(basename: str, name: str, other: str) -> Task:
    """The task `basename:name` as another word for the task `other`."""
    return {"basename": basename, "name": name, "actions": None, "task_dep": [other], "doc": f"is {other}"}


def always(name: str, func: Callable[..., None], args: Iterable[Any], after: Iterable[str] = ()) -> Task:
    """The task `name`, never up to date, run after the tasks `after`."""
    return {
        "basename": name,
        "actions": [(_as_task_result, [func, list(args)])],
        "uptodate": [False],
        "task_dep": list(after),
        "doc": _first_line(func),
        "io": {"capture": False},
        "verbosity": 2,
        "meta": {"verb": True},
    }


def verb(
    row: Verb, words: Words, func: Callable[..., None], args: Iterable[Any], after: Iterable[str] = ()
) -> Task:
    """The task of a verb."""
    return accepting({**always(row.name, func, args, after), "doc": row.summary}, words)


def accepting(task: Task, words: Words) -> Task:
    """`task`, whose words and options doit accepts; they were read before, its copy is not used."""
    if words.row is None or words.row.name != task["basename"]:
        return task
    params = words.doit_params()
    return {**task, "params": params, **({"pos_arg": "words"} if words.row.args else {})}


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
    from doit.doit_cmd import DoitMain

    module = importlib.import_module(dodo.stem)
    loader = Loader(module)
    main = DoitMain(loader, config_filenames=())
    main.BIN_NAME = "xc"
    if words[:1] in (["list"], ["info"], ["help"]):  # they change nothing: whoever reads may have seen enough
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        code = int(main.run(words) or 0)
    except SystemExit:
        if loader.problem is None:
            raise
        raise loader.problem from None
    return 2 if code == 3 else _exit_code or code


def told(tasks: Tasks) -> Tasks:
    """`tasks`, where a user's mistake found while they are made ends the run with a message."""
    try:
        yield from tasks
    except UserError as error:
        output.error(error)
        sys.exit(error.exit_code)


def end_well() -> None:
    """SIGTERM comes to doit's end, where it writes its state, as Ctrl-C does; neither shows a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shown = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
        else:
            shown(kind, error, trace)

    sys.excepthook = hook


def exit_code() -> int:
    """What the verb that ran asked for."""
    return _exit_code


def end_with(code: int) -> None:
    """The exit code of a run in which nothing fails."""
    global _exit_code
    _exit_code = code


def _first_line(func: Callable[..., None]) -> str:
    return (func.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _as_task_result(func: Callable[..., None], args: list[Any]) -> TaskFailed | None:
    global _exit_code
    try:
        func(*args)
        sys.stdout.flush()
    except OSError as error:
        if not output.of_stdout(error):
            raise
        _exit_code = max(_exit_code, output.lost(error))
    except UserError as error:
        _exit_code = max(_exit_code, error.exit_code)
        return TaskFailed(str(error))
    return None


def _clean(targets: list[Path], dryrun: bool = False) -> None:
    for target in targets:
        if dryrun:
            print(f"would remove {target}")
            continue
        files.remove(target)
        if target.parent.is_dir() and not any(target.parent.iterdir()):
            target.parent.rmdir()


def _clean_found(paths: Callable[[], list[Path]], dryrun: bool = False) -> None:
    _clean(paths(), dryrun)
