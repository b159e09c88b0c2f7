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

# Of the environment, what decides the bytes of artifacts: a release says with what it was made.
DECISIVE = ("SOURCE_DATE_EPOCH", "XCLUSTER_VERSION")
_MODE = re.compile(r"0o(10|4|12)0([0-7]{3})")


@dataclass(frozen=True)
class Place:
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


def identity(task: kit.Task, place: Place) -> str:
    """All that decides what a task makes, as a digest that is the same in every place."""
    config = json.loads(json.dumps(task["meta"]["config"], cls=kit.Encoder))
    config.get("inputs", {}).pop("mirror", None)  # where a thing comes from, not what it is
    deps = {place.anywhere(dep): _content(Path(dep)) for dep in task["file_dep"]}
    return files.digest([_anywhere(config, place), deps])


def closure(tasks: Iterable[kit.Task], names: Iterable[str]) -> dict[str, kit.Task]:
    """The tasks `names` and all whose targets they depend on, by name."""
    known = {record.name_of(task): task for task in tasks if task.get("targets")}
    makers = {target: name for name, task in known.items() for target in task["targets"]}
    found: dict[str, kit.Task] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name in known and name not in found:
            found[name] = known[name]
            left += [makers[dep] for dep in known[name]["file_dep"] if dep in makers]
    return dict(sorted(found.items()))


def manifest(tasks: Mapping[str, kit.Task], place: Place, contents: Mapping[str, Path]) -> dict[str, Any]:
    """What an unpacked release has to know: its files with their hashes, and the tasks that made them."""
    return {
        "files": {name: [files.sha256(path), path.stat().st_size] for name, path in contents.items()},
        "tasks": {
            name: {
                "inputs": identity(task, place),
                "targets": [place.packed(Path(target)) for target in task["targets"]],
            }
            for name, task in tasks.items()
        },
    }


def adopted(tasks: Sequence[kit.Task], place: Place) -> Iterator[kit.Task]:
    """`tasks`, after doit was told which of them an unpacked release has done.

    Raises UserError when a file of the release is damaged.
    """
    shipped = files.read_json(place.workspace.shipped)
    if shipped:
        _adopt(tasks, place, shipped)
    yield from (dict(task) for task in tasks)  # doit changes what it is given


def changed(place: Place) -> tuple[list[str], list[str]]:
    """Files of an unpacked release that are damaged, and those that were edited.

    What was built anew here has a stamp of its own, so it is not damaged.
    """
    shipped = files.read_json(place.workspace.shipped)
    wrong = [name for name, wanted in shipped.get("files", {}).items() if not _is(place, name, wanted)]
    built = [name for name in wrong if name.startswith("workspace/") and not name.endswith(".json")]
    known = _stamped(place.workspace) if built else set()
    return (
        [name for name in built if _content(_path(place, name)) not in known],
        [name for name in wrong if not name.startswith("workspace/")],
    )


def _stamped(workspace: Workspace) -> set[str | None]:
    """The hashes of all that stamps say was built here."""
    stamps = [files.read_json(path).get("files", {}) for path in workspace.root.glob("*/*.json")]
    return {entry.get("sha256") for stamp in stamps for entry in stamp.values() if isinstance(entry, dict)}


def _adopt(tasks: Sequence[kit.Task], place: Place, shipped: Mapping[str, Any]) -> None:
    """A task is adopted once in each place; after that, doit's own record is what counts.

    A task that doit has a record of was run here, unless the directory was moved: then the record is of no
    use.
    """
    here = files.read_json(place.workspace.adopted)
    moved = bool(here) and here.get("place") != str(place.root)
    before = [] if moved else here.get("tasks", [])
    known = set() if moved else record.known(place.workspace.db)
    same = []
    for task in tasks:
        name = record.name_of(task)
        wanted = shipped.get("tasks", {}).get(name)
        if not wanted or name in before or name in known or not task.get("targets"):
            continue
        if identity(task, place) != wanted["inputs"]:
            continue
        lost = [target for target in wanted["targets"] if not _is(place, target, shipped["files"][target])]
        if not lost:
            same.append(task)
        elif not moved:
            raise _damage(place, lost[0])
    if same:
        record.done(place.workspace.db, same)
        names = sorted({*before, *map(record.name_of, same)})
        files.write_json(place.workspace.adopted, {"place": str(place.root), "tasks": names})


def _damage(place: Place, name: str) -> UserError:
    what = "is not as the release brought it" if _path(place, name).exists() else "is missing"
    return UserError(
        f"the unpacked release is damaged: {_path(place, name)} {what}",
        "unpack it again (`xc doctor` names all damaged files), "
        f"or remove {place.workspace.shipped} to build everything here",
    )


def _path(place: Place, name: str) -> Path:
    if name.startswith("workspace/"):
        return place.workspace.root / name.removeprefix("workspace/")
    return place.root / name


def _is(place: Place, name: str, wanted: Sequence[Any]) -> bool:
    path = _path(place, name)
    return path.is_file() and path.stat().st_size == wanted[1] and files.sha256(path) == wanted[0]


def _content(path: Path) -> str | None:
    return files.sha256(path) if path.is_file() else None


def _anywhere(value: Any, place: Place) -> Any:
    """JSON with paths that hold anywhere, and modes less what a umask decides."""
    if isinstance(value, dict):
        return {key: _anywhere(each, place) for key, each in value.items()}
    if isinstance(value, list):
        return [_anywhere(each, place) for each in value]
    if not isinstance(value, str):
        return value
    mode = _MODE.fullmatch(value)
    if mode:
        return f"0o{mode[1]}0{'755' if int(mode[2], 8) & 0o100 else '644'}"
    return place.anywhere(value)
