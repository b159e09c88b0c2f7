"""The cache of downloads: what is in it and who needs it, what may go, and taking it to another machine."""

import io
import json
import re
import sys
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.base import files, progress
from tasks.base.errors import UserError
from tasks.build.image import disk
from tasks.build.sources import artifact
from tasks.build.sources.apt import KEYRING
from tasks.build.sources.suite import suites
from tasks.build.stock import inputs
from tasks.definitions import lockfile
from tasks.definitions.artifact_sources import Artifact
from tasks.project import command_line
from tasks.project.project import Does, Project, source_date_epoch

ACTIONS = {
    "ls": command_line.Action(options=("o",)),
    "prune": command_line.Action(options=("dry_run",)),
    "export": command_line.Action(1, 1),
    "import": command_line.Action(1, 1),
}
HASH = re.compile(r"[0-9a-f]{64}")
# What an exported tar may hold, below cache/.
CARRIED = re.compile(
    r"sha256/[0-9a-f]{64}|apt/[a-z][a-z0-9-]*/etc/sources\.list|"
    r"apt/[a-z][a-z0-9-]*/state/lists/[A-Za-z0-9._~%+-]+|"
    r"apt/[a-z][a-z0-9-]*/cache/archives/[A-Za-z0-9._~%+:-]+\.deb|"
    r"go/mod/cache/download/[^\0]+"
)
SOURCE = re.compile(r"deb (\[signed-by=[^]\s]+\] )?https?://[^\s]+ [a-z][a-z0-9/-]* main")
SIGNED = re.compile(r"^deb (\[signed-by=[^]]+\] )?")
CONTENTS = "cache/contents.json"  # in an exported tar, the first: all names
ALL = "*"  # all packages of a suite
IDLE = ("lock", "partial", "auxfiles")


@dataclass(frozen=True)
class Entry:
    """One thing in the cache."""

    path: str  # below the cache
    size: int  # bytes on disk
    users: tuple[str, ...]  # tasks that need it; none: nothing does


def _cache(project: Project) -> None:
    word, rest = command_line.action(project.words, ACTIONS)
    acts: dict[str, Callable[..., None]] = {"ls": _ls, "prune": _prune, "export": _export, "import": _import}
    acts[word](project, *[Path(each).absolute() for each in rest])


def entries(project: Project) -> list[Entry]:
    """Everything in the cache that this module knows of, by path; what others keep there is not in it."""
    cache = project.workspace.cache
    contents, packages = _contents(project), _packages(project)
    found = []
    for path in sorted((cache / "sha256").glob("*")):
        if not path.name.endswith(".lock"):
            found.append(_entry(cache, path, contents.get(path.name, ())))
    for folder in sorted((cache / "apt").glob("*/")):
        used = {name: users for (suite, name), users in packages.items() if suite == folder.name}
        lists = ("suite:" + folder.name,) if folder.name in suites(project) else ()
        found.append(Entry(f"apt/{folder.name}/state/lists", _size(folder / "state/lists"), lists))
        for path in sorted((folder / "cache/archives").glob("*.deb")):
            found.append(_entry(cache, path, used.get(path.name, used.get(ALL, ()))))
    go = tuple(name for name, (one, _) in _named(project) if any(source.go for source in one.sources))
    users = tuple(f"artifact:{name}" for name in go)
    found += [Entry(f"go/{part}", _size(cache / "go" / part), users) for part in _parts(cache / "go")]
    return found


def _named(project: Project) -> list[tuple[str, tuple[Artifact, Path]]]:
    return list(artifact.named(project).items())


def _parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if path.is_dir())


def _entry(cache: Path, path: Path, users: tuple[str, ...]) -> Entry:
    return Entry(str(path.relative_to(cache)), _size(path), users)


def _size(path: Path) -> int:
    """Bytes on disk."""
    if not path.is_dir():
        return path.stat().st_blocks * 512 if path.is_file() else 0
    return sum(each.lstat().st_blocks * 512 for each in path.rglob("*"))


def _contents(project: Project) -> dict[str, tuple[str, ...]]:
    """sha256 -> the tasks that need it: by their definitions, by what is pinned, and by what was built."""
    users: dict[str, set[str]] = {}
    for name, (one, _) in _named(project):
        hashes = {one.sha256, *(source.sha256 for source in one.sources)}
        hashes |= {
            lockfile.of(project.site.lock, "artifacts", artifact.pin_name(one, s)).get("sha256")
            for s in one.sources
        }
        hashes.add(files.read_json(project.workspace.stamp("artifact", name)).get("sha256"))
        for each in hashes - {None}:
            users.setdefault(str(each), set()).add(f"artifact:{name}")
    for image in disk.disks(project):
        want = disk.wanted(project, image)
        for each in {want.disk.sha256, want.pinned.get("sha256")} - {None}:
            users.setdefault(str(each), set()).add(f"image:{image.name}")
    return {key: tuple(sorted(value)) for key, value in users.items()}


def _packages(project: Project) -> dict[tuple[str, str], tuple[str, ...]]:
    """(suite, file name) -> the tasks that need it, by the package lists that are there."""
    users: dict[tuple[str, str], set[str]] = {}
    for request in inputs.packages(project):
        try:
            plan = request.plan(project)
        except UserError:  # no lists, or an unknown package: then nobody knows what is not needed
            users.setdefault((request.suite, ALL), set()).add(f"{request.user}?")
            continue
        for package in plan:
            users.setdefault((request.suite, Path(package.path).name), set()).add(request.user)
    return {key: tuple(sorted(value)) for key, value in users.items()}


def _ls(project: Project) -> None:
    found = entries(project)
    if project.words.options.get("o") == "json":
        json.dump([asdict(each) for each in found], sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    for each in found:
        users = " ".join(each.users[:4]) + (" ..." if len(each.users) > 4 else "")
        sys.stdout.write(f"{progress.amount(each.size):>10}  {each.path:<75} {users or '-'}\n")
    spare = sum(each.size for each in found if not each.users)
    total = progress.amount(sum(each.size for each in found))
    progress.say(f"{total} in {project.workspace.cache}; nothing needs {progress.amount(spare)} of it")


def _prune(project: Project) -> None:
    """Remove what no definition refers to. With a wrong definition nothing is removed: it may be the one."""
    if project.definitions.problems:
        raise UserError(
            "some definitions are wrong, so nothing is known to be unused:\n"
            + "\n".join(f"  {line}" for line in project.definitions.problems)
        )
    spare = [each for each in entries(project) if not each.users]
    for each in spare:
        path = project.workspace.cache / each.path
        sys.stdout.write(f"{progress.amount(each.size):>10}  {each.path}\n")
        if "dry_run" not in project.words.options:
            files.remove(path.parent.parent if each.path.endswith("/state/lists") else path)
    did = "would be freed" if "dry_run" in project.words.options else "freed"
    progress.say(f"{progress.amount(sum(each.size for each in spare))} {did}")


def _export(project: Project, out: Path) -> None:
    """One tar with all that a build without a network needs."""
    cache = project.workspace.cache
    found = [path for path in files.tree_files(cache) if _carried(path.relative_to(cache).as_posix())]
    names = json.dumps([path.relative_to(cache).as_posix() for path in found]).encode()
    with files.atomic(out) as temp, tarfile.open(temp, "w", format=tarfile.PAX_FORMAT) as tar:
        contents = tarfile.TarInfo(CONTENTS)
        contents.size, contents.mtime = len(names), source_date_epoch()
        tar.addfile(contents, io.BytesIO(names))
        for path in found:
            entry = tarfile.TarInfo(f"cache/{path.relative_to(cache).as_posix()}")
            entry.size, entry.mtime, entry.mode = path.stat().st_size, source_date_epoch(), 0o644
            with path.open("rb") as file:
                tar.addfile(entry, file)
    progress.say(f"{len(found)} files, {progress.amount(out.stat().st_size)} in {out}")


def _carried(name: str) -> bool:
    parts = name.split("/")
    return (
        bool(CARRIED.fullmatch(name))
        and ".." not in parts
        and not any(part in IDLE for part in parts[:-1])
        and parts[-1] not in IDLE
    )


def _import(project: Project, source: Path) -> None:
    """Take what is not there yet, after a look at all of it."""
    cache = project.workspace.cache
    if not source.is_file():
        raise UserError(f"there is no file {source}")
    with files.explained(cache), files.scratch(cache / "import") as folder:
        folder.mkdir(parents=True)
        taken = _unpacked(source, folder)
        for name in taken:
            target = cache / name
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(target)
    progress.say(f"{len(taken)} files from {source}")


def _unpacked(source: Path, folder: Path) -> list[str]:
    """Write each file below `folder`. Raises UserError for what an export would not have put there."""
    try:
        with tarfile.open(source) as tar:
            listed = _listed(tar, source)
            names = [_take(tar, entry, folder, source) for entry in tar if entry.name != CONTENTS]
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{source}: damaged, or not a tar: {error}; nothing was taken") from error
    if names != listed:
        raise UserError(f"{source}: it is not whole; nothing was taken")
    return names


def _listed(tar: tarfile.TarFile, source: Path) -> list[str]:
    """The first entry: the names of all others."""
    first = tar.next()
    content = tar.extractfile(first) if first and first.name == CONTENTS and first.isreg() else None
    try:
        names = json.loads(content.read(1 << 26)) if content else None
    except ValueError:
        names = None
    if not isinstance(names, list):
        raise UserError(f"{source}: `cache export` did not write this; nothing was taken")
    return [str(name) for name in names]


def _take(tar: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path, source: Path) -> str:
    name = entry.name.removeprefix("cache/")
    content = tar.extractfile(entry) if entry.isreg() else None
    if content is None or not entry.name.startswith("cache/") or not _carried(name):
        raise UserError(f"{source}: '{entry.name}' is not what `cache export` writes; nothing was taken")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        while chunk := content.read(1 << 20):
            out.write(chunk)
    _check(target, name, source)
    return name


def _check(path: Path, name: str, source: Path) -> None:
    if name.startswith("sha256/") and files.sha256(path) != path.name:
        raise UserError(f"{source}: '{name}' has another content than its name says; nothing was taken")
    if not name.endswith("/etc/sources.list"):
        return
    lines = path.read_text(errors="replace").splitlines()
    if not all(SOURCE.fullmatch(line) for line in lines):
        raise UserError(f"{source}: '{name}' is no list of Debian archives; nothing was taken")
    signed = f"[signed-by={KEYRING}] " if KEYRING.is_file() else ""
    path.write_text("".join(f"deb {signed}{re.sub(SIGNED, '', line)}\n" for line in lines))


DOES: Does = {"cache": _cache}
