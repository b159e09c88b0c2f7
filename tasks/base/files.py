"""Files that appear whole or not at all, their stamps, and locks between processes."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks.base import sparse
from tasks.base.errors import UserError

SMALL = 64 << 20  # bytes; no state file of ours has as many

# What is said when something stands where a file or a directory belongs.
IN_THE_WAY = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@contextlib.contextmanager
def atomic(path: Path, *, directory: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`. It becomes `path` when the block ends well; otherwise it is removed.

    With `directory`, it is an existing, empty directory, which replaces the directory `path`. Leftovers of
    earlier writers that were killed are removed first. Raises UserError on a full or read-only disk.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        if directory:
            temp.mkdir(mode=0o755)
        try:
            yield temp
            if directory and path.is_dir():
                remove(path)
            os.replace(temp, path)
        finally:
            remove(temp)


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, removed at the end; leftovers of killed processes go first."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            yield temp
        finally:
            remove(temp)


class Unwritable(UserError):
    """A file cannot be made or written, for a reason of the disk or of permissions."""


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about space, permission and the way to `path` into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unwritable(
                f"the disk is full while writing {path}",
                f"free some space below {path.parent}, or set XCLUSTER_WORKSPACE to another disk",
            ) from error
        if error.errno == errno.EFBIG:
            raise Unwritable(
                f"{path} would be larger than files may be here",
                "see `ulimit -f`, or set XCLUSTER_WORKSPACE to another disk",
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            where = error.filename or path
            raise Unwritable(
                f"cannot write {where}: {error.strerror}",
                "set XCLUSTER_WORKSPACE to a directory that you may write to",
            ) from error
        named = [name for name in (error.filename, error.filename2) if _leads_to(name, path)]
        if error.errno in IN_THE_WAY and named:
            raise Unwritable(
                f"cannot make {path}: {named[0]}: {error.strerror}",
                "remove what is in the way, or set XCLUSTER_WORKSPACE to a directory that you may write to",
            ) from error
        raise


def _leads_to(name: object, path: Path) -> bool:
    """Whether an error names `path` itself or a directory above it, and not a file that its content is of."""
    return isinstance(name, str | os.PathLike) and Path(name) in (path, *path.parents)


def sweep(folder: Path, name: str = "*") -> None:
    """Remove what killed writers of `name` left in `folder`; by default the leftovers of all names."""
    for stale in folder.glob(f".{name}.*.tmp"):
        pid = stale.name.split(".")[-2]
        if not (pid.isdigit() and Path(f"/proc/{pid}").exists()):
            remove(stale)


def held(path: Path, folder: Path) -> Path:
    """A name in `folder` for the present content of `path`, which stays when `path` is replaced or removed.

    It is a hard link, or a copy where the file system allows no hard link.
    """
    info = path.stat()
    mark = f"-{digest([info.st_ino, info.st_mtime_ns])[:8]}"
    link = folder / (path.stem.removesuffix(mark) + mark + path.suffix)
    if not link.exists():
        folder.mkdir(parents=True, exist_ok=True)
        keep(path, link)
    return link


def keep(path: Path, link: Path) -> None:
    """Give `path` a second name (a hard link), or make a copy where the file system allows no hard link."""
    try:
        os.link(path, link)
    except OSError:
        with atomic(link) as temp:
            sparse.copy(path, temp)


def remove(path: Path) -> None:
    """Remove a file or a tree, if it is there. Directories without rights for us are given them first."""
    if path.is_dir() and not path.is_symlink():
        _open(path)
        for folder, folders, _ in os.walk(path):  # it goes into them when we have seen them
            for name in folders:
                _open(Path(folder, name))
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _open(folder: Path) -> None:
    if not folder.is_symlink() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        os.chmod(folder, 0o700)


def forget_old(folder: Path, keep: int, recent: float, counts: Callable[[Path], bool] = Path.is_dir) -> None:
    """Remove what was used least recently in `folder`: all but the newest `keep` for which `counts` is true.

    What was used in the last `recent` seconds stays too: somebody may be about to need it. It is fine when
    another process removes the same things at the same time.
    """
    ages: list[tuple[float, Path]] = []
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if counts(path):
                ages.append((path.stat().st_mtime, path))
    for used, path in sorted(ages)[: -keep or None]:
        if time.time() - used > recent:
            with contextlib.suppress(OSError):
                remove(path)


def sha256(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """The sha256 of a JSON-able value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def odd_kind(path: Path) -> str:
    """What is at `path`: "a directory", "a pipe or a device"; "" for a file, and for nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    return "" if stat.S_ISREG(mode) else kind(mode)


def no_file(path: Path) -> str:
    """A sentence for a path at which a file was expected."""
    kind = odd_kind(path)
    return f"{path} is {kind}, not a file" if kind else f"there is no file {path}"


def text_bytes(path: Path, most: int = 1 << 20) -> bytes | None:
    """The content of a file that somebody wrote by hand; None where there is nothing of that name.

    Raises OSError, as `read_small` does, and for a link to nothing.
    """
    try:
        return read_small(path, most)
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(errno.ENOENT, f"it is a link to {os.readlink(path)}, which is not there") from None
        return None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically, with sorted keys: equal values give equal bytes."""
    with atomic(path) as temp:
        temp.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a text that only its owner can read, atomically."""
    with atomic(path) as temp:
        temp.touch(mode=0o600)
        temp.write_text(text)


def write_stamp(path: Path, outputs: dict[str, Path], **facts: Any) -> None:
    """Write the stamp of an artifact: the sha256 and size of each output, and facts that consumers use.

    Consumers depend on this small file, not on the artifact. So nothing large is hashed when nothing changed,
    and when a rebuild gives the same bytes, its consumers are not built again.
    """
    files = {
        name: {"sha256": sha256(file), "size": file.stat().st_size} for name, file in sorted(outputs.items())
    }
    write_json(path, {"files": files, **facts})


def read_small(path: Path, most: int = SMALL) -> bytes:
    """The content of a file of at most so many bytes.

    Raises OSError with the reason for anything else: a directory, a pipe, which would never be read out.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, f"it is {kind(info.st_mode)}, not a file")
        if info.st_size > most:
            raise OSError(errno.EFBIG, f"it is too large: at most {most >> 20} MiB are read")
        with open(handle, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(handle)


def kind(mode: int) -> str:
    """What something with such a mode (of `stat`) is, that is no file."""
    return "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"


def read_json(path: Path) -> dict[str, Any]:
    """The content of a stamp or state file; empty when it is missing or damaged."""
    try:
        value = json.loads(read_small(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def tree_manifest(root: Path) -> list[tuple[str, str, str]]:
    """(path, mode, link target) of everything below `root`, sorted: what doit itself does not compare.

    What cannot be looked at, or is removed meanwhile, is left out: who reads the tree says so.
    """
    entries = []
    for path in sorted(root.rglob("*")):
        with contextlib.suppress(PermissionError, FileNotFoundError):
            mode = path.lstat().st_mode
            target = os.readlink(path) if stat.S_ISLNK(mode) else ""
            entries.append((str(path.relative_to(root)), oct(mode & ~0o022), target))
    return entries


def tree_files(root: Path) -> list[Path]:
    """The regular files below `root`, sorted; as far as the user may look."""
    paths = []
    for path in root.rglob("*"):
        with contextlib.suppress(PermissionError, FileNotFoundError):
            if stat.S_ISREG(path.lstat().st_mode):
                paths.append(path)
    return sorted(paths)
