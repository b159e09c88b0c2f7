"""The cache as one tar, to take it to another machine, which takes nothing but what an export writes."""

import io
import json
import re
import tarfile
from pathlib import Path

from tasks.base import files, progress, user_files
from tasks.base.errors import UserError
from tasks.build.sources.apt import KEYRING
from tasks.formats import compressed
from tasks.project.project import Project, source_date_epoch

HASH = re.compile(r"[0-9a-f]{64}")
# What an exported tar may hold, below cache/.
CARRIED = re.compile(
    r"sha256/[0-9a-f]{64}|apt/[a-z][a-z0-9-]*/etc/sources\.list|"
    r"apt/[a-z][a-z0-9-]*/state/lists/[A-Za-z0-9._~%+-]+|"
    r"apt/[a-z][a-z0-9-]*/cache/archives/[A-Za-z0-9._~%+:-]+\.deb|"
    r"go/mod/cache/download/[^\0]+"
)
SOURCE = re.compile(
    r"deb (\[signed-by=[^]\s]+\] )?(https?://|copy:/|mirror\+(https?|file):/)[^\s]+ [a-z][a-z0-9/-]* main"
)
SIGNED = re.compile(r"^deb (\[signed-by=[^]]+\] )?")
CONTENTS = "cache/contents.json"  # in an exported tar, the first: all names
IDLE = ("lock", "partial", "auxfiles")


def export(project: Project, out: Path) -> None:
    """One tar with all that a build without a network needs."""
    cache = project.workspace.cache
    carried = [path for path in files.tree_files(cache) if _carried(path.relative_to(cache).as_posix())]
    names = json.dumps([path.relative_to(cache).as_posix() for path in carried]).encode()
    with user_files.written(out) as temp, tarfile.open(temp, "w", format=tarfile.PAX_FORMAT) as tar:
        contents = tarfile.TarInfo(CONTENTS)
        contents.size, contents.mtime = len(names), source_date_epoch()
        tar.addfile(contents, io.BytesIO(names))
        for path in carried:
            entry = tarfile.TarInfo(f"cache/{path.relative_to(cache).as_posix()}")
            entry.size, entry.mtime, entry.mode = path.stat().st_size, source_date_epoch(), 0o644
            with path.open("rb") as file:
                tar.addfile(entry, file)
    progress.say(f"{len(carried)} files, {progress.amount(out.stat().st_size)} in {out}")


def _carried(name: str) -> bool:
    parts = name.split("/")
    return (
        bool(CARRIED.fullmatch(name))
        and ".." not in parts
        and not any(part in IDLE for part in parts[:-1])
        and parts[-1] not in IDLE
    )


def take_over(project: Project, source: Path) -> None:
    """Take what is not there yet, after a look at all of it."""
    cache = project.workspace.cache
    if not source.is_file():
        raise UserError(files.no_file(source))
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
        raise UserError(f"{source}: {compressed.tar_fault(error)}; nothing was imported") from error
    if names != listed:
        raise UserError(f"{source}: files are missing in it; nothing was imported")
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
        raise UserError(f"{source}: `cache export` did not write this; nothing was imported")
    return [str(name) for name in names]


def _take(tar: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path, source: Path) -> str:
    name = entry.name.removeprefix("cache/")
    content = tar.extractfile(entry) if entry.isreg() else None
    if content is None or not entry.name.startswith("cache/") or not _carried(name):
        raise UserError(f"{source}: '{entry.name}' is not what `cache export` writes; nothing was imported")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        while chunk := content.read(1 << 20):
            out.write(chunk)
    _check(target, name, source)
    return name


def _check(path: Path, name: str, source: Path) -> None:
    if name.startswith("sha256/") and files.sha256(path) != path.name:
        raise UserError(
            f"{source}: the content of '{name}' is not the one that its name promises; nothing was imported"
        )
    if not name.endswith("/etc/sources.list"):
        return
    lines = path.read_text(errors="replace").splitlines()
    if not all(SOURCE.fullmatch(line) for line in lines):
        raise UserError(f"{source}: '{name}' is not a list of Debian archives; nothing was imported")
    signed = f"[signed-by={KEYRING}] " if KEYRING.is_file() else ""
    path.write_text("".join(f"deb {signed}{re.sub(SIGNED, '', line)}\n" for line in lines))
