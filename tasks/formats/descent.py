"""A path -> the directory at its end, step by step, below a directory that no step leaves.

Each step opens one name, which must not be a link; links are read and gone through as in a chroot.
"""

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Iterator

from tasks.base.errors import UserError

LINKS = 40  # symbolic links on the way to one file, as in Linux
STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LONGEST_NAME, LONGEST_TARGET = 255, 4095  # bytes


class Blocked(UserError):
    """A link on the way leads to a file, or to itself."""


def directory(top: int, path: str, make: bool) -> tuple[int, list[str]]:
    """Open the directory `path` below `top`; its handle, and its names from the top, none of which is a link.

    With `make` directories that are missing are made, also instead of files that `path` itself names. Raises
    FileNotFoundError or NotADirectoryError where there is none, Blocked where links lead to none.
    """
    way = _Way(top, make)
    left = deque((part, False) for part in parts(path))
    links = 0
    try:
        while left:
            part, linked = left.popleft()
            target = None if part == ".." else target_of(part, way.handle)
            if target is None:
                way.step(part, over_files=not linked)
                continue
            links += 1
            if links > LINKS:
                raise Blocked(f"{path}: too many symbolic links")
            if target.startswith("/"):
                way.back_to([])
            left.extendleft((each, True) for each in reversed(parts(target)))
    except BaseException:
        os.close(way.handle)
        raise
    return way.handle, way.names


class _Way:
    """How far we came."""

    def __init__(self, top: int, make: bool) -> None:
        self._top, self._make = top, make
        self.handle = os.dup(top)
        self.names: list[str] = []

    def step(self, part: str, over_files: bool) -> None:
        """Into `part`, which is no link; with `over_files` a file may be replaced by a directory."""
        if part == "..":
            self.back_to(self.names[:-1])
            return
        if self._make:
            _make(self.handle, part, over_files)
        try:
            self._enter(part)
        except NotADirectoryError as error:
            if not self._make:
                raise
            raise Blocked(f"{'/'.join([*self.names, part])} is a file, and a link leads there") from error

    def back_to(self, names: list[str]) -> None:
        """From the top again, to a directory that was on the way."""
        os.dup2(self._top, self.handle, inheritable=False)
        self.names = []
        for name in names:
            self._enter(name)

    def _enter(self, name: str) -> None:
        below = os.open(name, STEP, dir_fd=self.handle)
        os.close(self.handle)
        self.handle = below
        self.names.append(name)


def target_of(name: str, folder: int) -> str | None:
    """The target of a symbolic link; None for everything else."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _make(folder: int, name: str, replace: bool) -> None:
    """A directory, unless there is one; with `replace` instead of a file."""
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not replace or stat.S_ISDIR(info.st_mode):
            return
        os.unlink(name, dir_fd=folder)
        os.mkdir(name, 0o700, dir_fd=folder)
    with closing(os.open(name, STEP, dir_fd=folder)) as handle:
        os.fchmod(handle, 0o755)


@contextlib.contextmanager
def closing(handle: int) -> Iterator[int]:
    """Close a directory or file after the block."""
    try:
        yield handle
    finally:
        os.close(handle)


def check(path: str) -> None:
    """Raise UserError for a path with a name that no file can have."""
    parts(path)


def check_target(path: str, target: str) -> None:
    """Raise UserError when `path` cannot be a symbolic link to `target`."""
    if not _encoded(target, LONGEST_TARGET, f"{path} -> {target}"):
        raise UserError(f"{path} is a symbolic link to nothing")


def parts(path: str) -> list[str]:
    """The names in a path. Raises UserError for one that no file can have."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for part in parts:
        _encoded(part, LONGEST_NAME, path)
    return parts


def _encoded(text: str, longest: int, path: str) -> bytes:
    """A name or the target of a link as the kernel takes it."""
    try:
        value = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise UserError(f"{path!r:.300} cannot be the name of a file: it is not Unicode") from error
    if b"\0" in value or len(value) > longest:
        why = "it has a NUL" if b"\0" in value else f"{len(value)} bytes of at most {longest}"
        raise UserError(f"{path!r:.300} cannot be the name of a file: {why}")
    return value
