"""A release that was unpacked: what it brought, and which tasks need not run because it did them.

doit's own record names files by absolute path and time, so it is of no use in another place. A release says
instead, for each task that made something in it, a digest of all that the task was made from, in words that
hold anywhere. Where the digest is the same here, doit is told that the task is done, once.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.base import files
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.engine import kit, record
from tasks.engine.fresh import Encoder

# Of the environment, what decides the bytes of artifacts: a release says with what it was made.
DECISIVE = ("SOURCE_DATE_EPOCH", "XCLUSTER_VERSION")
_MODE = re.compile(r"0o(10|4|12)0([0-7]{3})")


@dataclass(frozen=True)
class Location:
    """Where a project and its workspace are."""

    root: Path
    workspace: Workspace

    def anywhere(self, text: str) -> str:
        """A path in words that hold wherever the project is: @workspace/..., @project/..."""
        for folder, word in ((self.workspace.root, "@workspace"), (self.root, "@project")):
            if text == str(folder) or text.startswith(f"{folder}/"):
                return word + text[len(str(folder)) :]
        return text

    def packed(self, path: Path) -> str:
        """The name of a file in a release, as `anywhere` but relative to the project."""
        return self.anywhere(str(path)).replace("@workspace/", "workspace/", 1).replace("@project/", "", 1)


def identity(task: kit.Task, location: Location) -> str:
    """All that decides what a task makes, as a digest that is the same in every location."""
    config = json.loads(json.dumps(task["meta"]["recipe"].config, cls=Encoder))
    for name in ("mirror", "go"):  # where a thing comes from and what makes it, not what it is
        config.get("inputs", {}).pop(name, None)
    deps = {location.anywhere(dep): _content(Path(dep)) for dep in task["file_dep"]}
    return files.digest([_anywhere(config, location), deps])


def closure(tasks: Iterable[kit.Task], names: Iterable[str]) -> dict[str, kit.Task]:
    """The tasks `names` and all whose targets they depend on, by name."""
    builders = {record.name_of(task): task for task in tasks if task.get("targets")}
    makers = {target: name for name, task in builders.items() for target in task["targets"]}
    chosen: dict[str, kit.Task] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name in builders and name not in chosen:
            chosen[name] = builders[name]
            left += [makers[dep] for dep in builders[name]["file_dep"] if dep in makers]
    return dict(sorted(chosen.items()))


def manifest(
    tasks: Mapping[str, kit.Task], location: Location, contents: Mapping[str, Path]
) -> dict[str, Any]:
    """What an unpacked release has to know: its files with their hashes, and the tasks that made them."""
    return {
        "files": {name: [files.sha256(path), path.stat().st_size] for name, path in contents.items()},
        "tasks": {
            name: {
                "inputs": identity(task, location),
                "targets": [location.packed(Path(target)) for target in task["targets"]],
            }
            for name, task in tasks.items()
        },
    }


def adopted(tasks: Sequence[kit.Task], location: Location) -> Iterator[kit.Task]:
    """`tasks`, after doit was told which of them an unpacked release has done.

    Raises UserError when a file of the release is damaged.
    """
    shipped = files.read_json(location.workspace.shipped)
    if shipped:
        _adopt(tasks, location, shipped)
    yield from (dict(task) for task in tasks)  # doit changes what it is given


def changed(location: Location) -> tuple[list[str], list[str]]:
    """Files of an unpacked release that are damaged, and those that were edited.

    What was built anew here has a stamp of its own, so it is not damaged.
    """
    shipped = files.read_json(location.workspace.shipped)
    wrong = [name for name, facts in shipped.get("files", {}).items() if not _is(location, name, facts)]
    built = [name for name in wrong if name.startswith("workspace/") and not name.endswith(".json")]
    stamped = _stamped(location.workspace) if built else set()
    return (
        [name for name in built if _content(_path(location, name)) not in stamped],
        [name for name in wrong if not name.startswith("workspace/")],
    )


def _stamped(workspace: Workspace) -> set[str | None]:
    """The hashes of all that stamps say was built here."""
    stamps = [files.read_json(path).get("files", {}) for path in workspace.root.glob("*/*.json")]
    return {entry.get("sha256") for stamp in stamps for entry in stamp.values() if isinstance(entry, dict)}


def _adopt(tasks: Sequence[kit.Task], location: Location, shipped: Mapping[str, Any]) -> None:
    """A task is adopted once in each location; after that, doit's own record is what counts.

    A task that doit has a record of was run here, unless the directory was moved: then the record is of no
    use.
    """
    here = files.read_json(location.workspace.adopted)
    moved = bool(here) and here.get("place") != str(location.root)
    before = [] if moved else here.get("tasks", [])
    recorded = set() if moved else record.recorded(location.workspace.db)
    same = []
    for task in tasks:
        name = record.name_of(task)
        brought = shipped.get("tasks", {}).get(name)
        if not brought or name in before or name in recorded or not task.get("targets"):
            continue
        if identity(task, location) != brought["inputs"]:
            continue
        lost = [
            target for target in brought["targets"] if not _is(location, target, shipped["files"][target])
        ]
        if not lost:
            same.append(task)
        elif not moved:
            raise _damage(location, lost[0])
    if same:
        record.done(location.workspace.db, same)
        names = sorted({*before, *map(record.name_of, same)})
        files.write_json(location.workspace.adopted, {"place": str(location.root), "tasks": names})


def _damage(location: Location, name: str) -> UserError:
    what = "is not as the release brought it" if _path(location, name).exists() else "is missing"
    return UserError(
        f"the unpacked release is damaged: {_path(location, name)} {what}",
        "unpack it again (`xc doctor` names all damaged files), "
        f"or remove {location.workspace.shipped} to build everything here",
    )


def _path(location: Location, name: str) -> Path:
    if name.startswith("workspace/"):
        return location.workspace.root / name.removeprefix("workspace/")
    return location.root / name


def _is(location: Location, name: str, facts: Sequence[Any]) -> bool:
    path = _path(location, name)
    return path.is_file() and path.stat().st_size == facts[1] and files.sha256(path) == facts[0]


def _content(path: Path) -> str | None:
    return files.sha256(path) if path.is_file() else None


def _anywhere(value: Any, location: Location) -> Any:
    """JSON with paths that hold anywhere, and modes less what a umask decides."""
    if isinstance(value, dict):
        return {key: _anywhere(each, location) for key, each in value.items()}
    if isinstance(value, list):
        return [_anywhere(each, location) for each in value]
    if not isinstance(value, str):
        return value
    mode = _MODE.fullmatch(value)
    if mode:
        return f"0o{mode[1]}0{'755' if int(mode[2], 8) & 0o100 else '644'}"
    return location.anywhere(value)
