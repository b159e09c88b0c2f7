"""Takes one file out of a tar or zip archive; its path in there never decides where anything is written."""

import shutil
import tarfile
import zipfile
from pathlib import Path

from tasks.base.errors import UserError
from tasks.formats import compressed


def extract(source: Path, member: str, target: Path, what: str) -> None:
    """Write the regular file `member` of the archive to `target`. Raises UserError when it is not there."""
    try:
        names = _from_zip(source, member, target) if zipfile.is_zipfile(source) else None
        names = _from_tar(source, member, target) if names is None else names
    except (tarfile.TarError, zipfile.BadZipFile, RuntimeError, *compressed.DAMAGED) as error:
        raise UserError(f"{what}: this archive is damaged, or neither a tar nor a zip: {error}") from error
    if names:
        raise UserError(f"{what} has no file '{member}'", f"it has: {', '.join(names[:20])}")


def _from_tar(source: Path, member: str, target: Path) -> list[str]:
    """Empty when the file was written, else the names in the archive."""
    names = []
    with compressed.opened(source) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isreg() and _same(entry.name, member) else None
            if content:
                with target.open("wb") as out:
                    shutil.copyfileobj(content, out, 1 << 20)
                return []
            names.append(entry.name + ("" if entry.isreg() else " (no regular file)"))
    return names or ["nothing"]


def _from_zip(source: Path, member: str, target: Path) -> list[str]:
    names = []
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            linked = (entry.external_attr >> 28) == 0o12  # a symbolic link's mode
            if _same(entry.filename, member) and not linked and not entry.is_dir():
                with archive.open(entry) as content, target.open("wb") as out:
                    shutil.copyfileobj(content, out, 1 << 20)
                return []
            names.append(entry.filename + (" (no regular file)" if linked else ""))
    return names or ["nothing"]


def _same(name: str, member: str) -> bool:
    return name.removeprefix("./") == member.removeprefix("./")
