"""Tasks for doit, made of recipes: what is built, of what, and what the verbs do."""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from doit.exceptions import TaskFailed
from doit.tools import config_changed

from tasks.base import files, output, progress
from tasks.base.errors import DefinitionError, UserError
from tasks.base.seals import DamagedContent
from tasks.definitions.artifact_sources import Artifact
from tasks.definitions.package_request import PackageRequest
from tasks.engine.exit_code import EXIT
from tasks.engine.fresh import Encoder, Sealed
from tasks.project import place
from tasks.project.command_line import Verb, Words

Task = dict[str, Any]
Tasks = Iterator[Task]


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
    packages: Sequence[PackageRequest] = ()  # Debian packages that `func` takes
    artifacts: Sequence[Artifact] = ()  # files from outside that it takes
    reads: Sequence[str] = ()  # files of this host that it may depend on
    keeps: Callable[[], Iterable[Path]] = tuple  # files that `func` made besides the targets of its task

    @property
    def config(self) -> dict[str, Any]:
        """The values that decide what comes out."""
        return {"args": self.args, "inputs": self.inputs}

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
    outputs = [Path(target) for target in targets]
    names = {"basename": basename} if name is None else {"basename": basename, "name": name}
    return names | {
        "actions": [(_as_task_result, [recipe.func, list(recipe.args)])],
        "targets": [str(target) for target in outputs],
        "file_dep": list(dict.fromkeys(str(dep) for dep in [*recipe.deps, *recipe.sources()])),
        "uptodate": [config_changed(recipe.config, encoder=Encoder)],
        "meta": {"recipe": recipe},
        "clean": [(_clean, [[*outputs, *also]])],
        "doc": _first_line(recipe.func),
        "io": {"capture": False},
        "verbosity": 2,
    }


def sealed(tasks: Iterable[Task], folder: Path) -> Tasks:
    """`tasks`, where those that build run again when what they made was changed on the disk.

    `folder` keeps the seals.
    """
    for each in tasks:
        recipe = recipe_of(each)
        if recipe and each.get("targets"):
            check = Sealed(folder, each["targets"], recipe.keeps)
            actions = [(_as_task_result, [check.clear, []]), *each["actions"]]
            yield {**each, "uptodate": [*each["uptodate"], check], "actions": actions}
        else:
            yield each


def recipe_of(task: Task) -> Recipe | None:
    """The recipe of a task that builds; None for other tasks."""
    recipe = (task.get("meta") or {}).get("recipe")
    return recipe if isinstance(recipe, Recipe) else None


def leftovers(name: str, paths: Callable[[], list[Path]]) -> Task:
    """A task that does nothing; `clean` removes what `paths` gives then."""
    return {
        "basename": name,
        "actions": None,
        "clean": [(_clean_listed, [paths])],
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


def refusing(basename: str, name: str | None, problems: Sequence[str]) -> Task:
    """A task in the place of one that cannot be made: whoever runs it gets told what is wrong."""

    def tell() -> None:
        raise DefinitionError(problems)

    names = {"basename": basename} if name is None else {"basename": basename, "name": name}
    return {**always(basename, tell, []), **names, "doc": f"cannot be made: {problems[0]}"}


def verb(
    row: Verb, words: Words, func: Callable[..., None], args: Iterable[Any], after: Iterable[str] = ()
) -> Task:
    """The task of a verb."""
    return accepting({**always(row.name, func, args, after), "doc": row.summary}, words)


def accepting(task: Task, words: Words) -> Task:
    """`task`, whose words and options doit accepts; they were read before, its copy is not used."""
    if words.row is None or words.row.name != task["basename"]:
        return task
    row = words.row.told
    heading = {"doc": row.summary, "meta": {**(task.get("meta") or {}), "told": row.name}}
    named = heading if words.row.typed else {}
    params = words.doit_params()
    return {**task, **named, "params": params, **({"pos_arg": "words"} if words.row.args else {})}


def group(basename: str, doc: str) -> Task:
    """The line that stands for all sub-tasks in `doit list`."""
    return {"basename": basename, "name": None, "doc": doc}


def _first_line(func: Callable[..., None]) -> str:
    return (func.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _as_task_result(func: Callable[..., None], args: list[Any]) -> TaskFailed | None:
    try:
        func(*args)
        sys.stdout.flush()
    except OSError as error:
        if output.of_stdout(error):
            EXIT.fail(output.lost(error))
            return None
        refusal = place.refusal(error)
        if refusal is None:
            raise
        EXIT.fail(refusal.exit_code)
        return TaskFailed(str(refusal))
    except DamagedContent as error:
        if EXIT.may_repeat():
            progress.say(f"{error.message}; it is fetched again")
            return TaskFailed(str(error), report=False)
        EXIT.fail(error.exit_code)
        return TaskFailed(str(error))
    except UserError as error:
        EXIT.fail(error.exit_code)
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


def _clean_listed(paths: Callable[[], list[Path]], dryrun: bool = False) -> None:
    _clean(paths(), dryrun)
