"""The cache of downloads: what is in it, who needs it, and what may go."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.base import files, output, progress
from tasks.base.errors import UserError
from tasks.build.image import disk
from tasks.build.sources import artifact, origins, requested
from tasks.build.sources.suite import suites
from tasks.build.stock import inputs, transfer
from tasks.definitions import lockfile
from tasks.definitions.artifact_sources import Artifact
from tasks.definitions.schema import Overlay
from tasks.project import actions
from tasks.project.project import Does, Project

ACTIONS = {
    "ls": actions.Action(options=("o",)),
    "prune": actions.Action(options=("dry_run",)),
    "export": actions.Action(1, 1),
    "import": actions.Action(1, 1),
}
ALL = "*"  # all packages of a suite


@dataclass(frozen=True)
class Cached:
    """One thing in the cache."""

    path: str  # below the cache
    size: int  # bytes on disk
    users: tuple[str, ...]  # tasks that need it; none: nothing does


def _cache(project: Project) -> None:
    word, rest = actions.action(project.words, ACTIONS)
    acts: dict[str, Callable[..., None]] = {
        "ls": _ls,
        "prune": _prune,
        "export": transfer.export,
        "import": transfer.take_over,
    }
    acts[word](project, *[Path(each).absolute() for each in rest])


def entries(project: Project) -> list[Cached]:
    """Everything in the cache that this module knows of, by path; what others keep there is not in it."""
    cache = project.workspace.cache
    contents = _contents(project)
    cached = []
    for path in sorted((cache / "sha256").glob("*")):
        if not path.name.endswith(".lock"):
            cached.append(_entry(cache, path, contents.get(path.name, ())))
    cached += _of_apt(project)
    go = tuple(name for name, (one, _) in _artifacts(project) if any(source.go for source in one.sources))
    users = tuple(f"artifact:{name}" for name in go)
    return cached + [Cached(f"go/{part}", _size(cache / "go" / part), users) for part in _parts(cache / "go")]


def _of_apt(project: Project) -> list[Cached]:
    """Package lists and packages, by suite."""
    cache, packages = project.workspace.cache, _packages(project)
    used_suites = suites(project, _overlays(project).values())
    cached = []
    for folder in sorted((cache / "apt").glob("*/")):
        users = {name: users for (suite, name), users in packages.items() if suite in (folder.name, ALL)}
        lists = ("suite:" + folder.name,) if folder.name in used_suites else ()
        cached.append(Cached(f"apt/{folder.name}/state/lists", _size(folder / "state/lists"), lists))
        for path in sorted((folder / "cache/archives").glob("*.deb")):
            cached.append(_entry(cache, path, users.get(path.name, users.get(ALL, ()))))
    return cached


def _overlays(project: Project) -> Mapping[str, Overlay]:
    """The overlays on the ISO; none where they cannot be told, which `prune` refuses."""
    try:
        return inputs.overlays(project)
    except UserError:
        return {}


def _artifacts(project: Project) -> list[tuple[str, tuple[Artifact, Path]]]:
    return list(artifact.named(project, _overlays(project).values()).items())


def _parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if path.is_dir())


def _entry(cache: Path, path: Path, users: tuple[str, ...]) -> Cached:
    return Cached(str(path.relative_to(cache)), _size(path), users)


def _size(path: Path) -> int:
    """Bytes on disk."""
    if not path.is_dir():
        return path.stat().st_blocks * 512 if path.is_file() else 0
    return sum(each.lstat().st_blocks * 512 for each in path.rglob("*"))


def _contents(project: Project) -> dict[str, tuple[str, ...]]:
    """sha256 -> the tasks that need it: by their definitions, by what is pinned, and by what was built."""
    users: dict[str, set[str]] = {}
    for name, (one, _) in _artifacts(project):
        hashes = {one.sha256, *(source.sha256 for source in one.sources)}
        hashes |= {
            lockfile.of(project.site.lock, "artifacts", origins.pin_name(one, s)).get("sha256")
            for s in one.sources
        }
        hashes.add(files.read_json(project.workspace.stamp("artifact", name)).get("sha256"))
        for each in hashes - {None}:
            users.setdefault(str(each), set()).add(f"artifact:{name}")
    for image in disk.disks(project):
        request = disk.request(project, image)
        for each in {request.definition.sha256, request.pinned.get("sha256")} - {None}:
            users.setdefault(str(each), set()).add(f"image:{image.name}")
    return {key: tuple(sorted(value)) for key, value in users.items()}


def _packages(project: Project) -> dict[tuple[str, str], tuple[str, ...]]:
    """(suite, file name) -> the tasks that need it, by the package lists that are there.

    A task of which nobody can say what it needs is written with a question mark, and needs everything.
    """
    users: dict[tuple[str, str], set[str]] = {}
    try:
        requests = list(inputs.packages(project, inputs.overlays(project)))
    except UserError:
        return {(ALL, ALL): ("?",)}
    for user, request in requests:
        try:
            packages = requested.plan(request, project.site)
        except UserError:  # no lists, or an unknown package
            users.setdefault((request.suite, ALL), set()).add(f"{user}?")
            continue
        for package in packages:
            users.setdefault((request.suite, Path(package.path).name), set()).add(user)
    return {key: tuple(sorted(value)) for key, value in users.items()}


def _ls(project: Project) -> None:
    cached = entries(project)
    if project.words.options.get("o") == "json":
        output.as_json([asdict(each) for each in cached])
        return
    for each in cached:
        users = " ".join(each.users[:4]) + (" ..." if len(each.users) > 4 else "")
        sys.stdout.write(f"{progress.amount(each.size):>10}  {each.path:<75} {users or '-'}\n")
    spare = sum(each.size for each in cached if not each.users)
    total = progress.amount(sum(each.size for each in cached))
    progress.say(f"{total} in {project.workspace.cache}; nothing needs {progress.amount(spare)} of it")


def _prune(project: Project) -> None:
    """Remove what no definition refers to. With a wrong definition nothing is removed: it may be the one.

    Raises UserError also when an overlay that was chosen for the ISO is not there.
    """
    if project.definitions.problems:
        raise UserError(
            "some definitions are wrong, so it is not known what is unused; nothing was removed:\n"
            + "\n".join(f"  {line}" for line in project.definitions.problems)
        )
    inputs.overlays(project)
    spare = [each for each in entries(project) if not each.users]
    for each in spare:
        path = project.workspace.cache / each.path
        sys.stdout.write(f"{progress.amount(each.size):>10}  {each.path}\n")
        if "dry_run" not in project.words.options:
            files.remove(path.parent.parent if each.path.endswith("/state/lists") else path)
    did = "would be freed" if "dry_run" in project.words.options else "freed"
    progress.say(f"{progress.amount(sum(each.size for each in spare))} {did}")


DOES: Does = {"cache": _cache}
