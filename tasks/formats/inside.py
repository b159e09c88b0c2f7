"""A directory and a path in it -> what is there for programs whose / the directory is, to read or to replace.

All that unpacks or places files goes through here. An absolute symbolic link leads to a place below the
directory, and `..` ends at its top, as in a chroot. The host's kernel resolves nothing: each step opens one
name that must not be a link, so a link that appears in the meantime leads nowhere either.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tasks.base import sparse
from tasks.base.errors import UserError
from tasks.formats import descent

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Occupied(UserError):
    """A directory is where a file is to go."""


class Root:
    """The directory `path`, to be used in a `with` block. Paths in it are relative to it, or begin with /.

    What is put over something else replaces it, but a file never replaces a directory: that is a UserError,
    and so are names that no file can have. Nothing that is missing: FileNotFoundError.
    """

    def __init__(self, path: Path) -> None:
        self._top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> "Root":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._top)

    def directory(self, path: str, mode: int | None = None) -> None:
        """Make a directory, and those above it: with mode 755, if they are not there.

        A link to a directory stays and stands for it, also where that has to be made. A file, and a link to
        one, is replaced.
        """
        try:
            handle, _ = descent.directory(self._top, path, make=True)
        except descent.Blocked:
            with self._parent(path) as (folder, name, _):
                os.unlink(name, dir_fd=folder)
            handle, _ = descent.directory(self._top, path, make=True)
        with descent.closing(handle):
            if mode is not None:
                os.fchmod(handle, mode)

    @contextlib.contextmanager
    def file(self, path: str, mode: int) -> Iterator[IO[bytes]]:
        """A new file to write to instead of what was there; directories above it are made."""
        with self._free(path) as (folder, name):
            with open(os.open(name, WRITE, 0o600, dir_fd=folder), "wb") as out:
                yield out
                out.flush()
                os.fchmod(out.fileno(), mode)

    def symlink(self, path: str, target: str) -> None:
        """A symbolic link, wherever it leads, instead of what was there: an empty directory too."""
        descent.check_target(path, target)
        with self._free(path, empty=True) as (folder, name):
            os.symlink(target, name, dir_fd=folder)

    def hard_link(self, path: str, first: str) -> None:
        """A second name for `first`, which may be a symbolic link but no directory."""
        with self._parent(first, make=False) as (old_folder, old, _):
            info = os.stat(old or ".", dir_fd=old_folder, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                raise UserError(f"{path} would be a hard link to the directory {first}")
            if self._is(path, info):
                return
            with self._free(path) as (folder, name):
                _link(old_folder, old, folder, name)

    def fifo(self, path: str, mode: int) -> None:
        """A named pipe instead of what was there."""
        with self._free(path) as (folder, name):
            os.mkfifo(name, 0o600, dir_fd=folder)
        self.chmod(path, mode)

    def remove(self, path: str) -> None:
        """Remove a file or link, if it is there."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            with self._parent(path, make=False) as (folder, name, _):
                os.unlink(name, dir_fd=folder)

    def make_room(self, path: str) -> None:
        """Directories above `path`, and no file or link of that name."""
        with self._free(path, empty=True):
            pass

    def is_taken(self, path: str) -> bool:
        """Whether there is anything of that name: a link that leads nowhere too."""
        try:
            with self._parent(path, make=False) as (folder, name, _):
                os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError, descent.Blocked):
            return False
        return True

    def is_file(self, path: str) -> bool:
        """Whether it is a regular file, or a link to one."""
        try:
            with self._file(path) as handle:
                return stat.S_ISREG(os.fstat(handle).st_mode)
        except (OSError, descent.Blocked):
            return False

    def is_directory(self, path: str) -> bool:
        """Whether it is a directory, or a link to one."""
        try:
            handle, _ = descent.directory(self._top, path, make=False)
        except (FileNotFoundError, NotADirectoryError, descent.Blocked):
            return False
        os.close(handle)
        return True

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted; none if it is not there."""
        if not self.is_directory(path):
            return []
        with descent.closing(descent.directory(self._top, path, make=False)[0]) as handle:
            return sorted(os.listdir(handle))

    def read(self, path: str) -> bytes:
        """The content of a file."""
        with self._file(path) as handle, open(handle, "rb", closefd=False) as source:
            return source.read()

    def chmod(self, path: str, mode: int) -> None:
        """Change the mode of a file or directory; where it is a link, of what this leads to."""
        with self._file(path) as handle:
            os.fchmod(handle, mode)

    def set_time(self, path: str, seconds: int) -> None:
        """The time of a file's last change, in seconds since 1970."""
        with self._file(path) as handle:
            os.utime(handle, (seconds, seconds))

    def real(self, path: str) -> str:
        """The same place without links on the way, relative to the directory."""
        for _ in range(descent.LINKS):
            with self._parent(path, make=False) as (folder, name, names):
                target = descent.target_of(name, folder) if name else None
                if target is None:
                    os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
                    return "/".join([*names, name] if name else names)
            path = target if target.startswith("/") else "/".join([*names, target])
        raise descent.Blocked(f"{path}: too many symbolic links")

    @contextlib.contextmanager
    def _file(self, path: str) -> Iterator[int]:
        with self._parent(self.real(path), make=False) as (folder, name, _):
            handle = os.open(name or ".", READ, dir_fd=folder)
            with descent.closing(handle):
                yield handle

    def _is(self, path: str, info: os.stat_result) -> bool:
        """Whether `path` is another name of this file."""
        try:
            with self._parent(path, make=False) as (folder, name, _):
                other = os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (other.st_dev, other.st_ino) == (info.st_dev, info.st_ino)

    @contextlib.contextmanager
    def _free(self, path: str, empty: bool = False) -> Iterator[tuple[int, str]]:
        """A place for `path`, where nothing is any more; with `empty` it may have been an empty directory."""
        with self._parent(path) as (folder, name, _):
            if not name or not _removed(folder, name, empty):
                raise Occupied(f"{path} is a file, but it would replace the directory {name or '/'}")
            yield folder, name

    @contextlib.contextmanager
    def _parent(self, path: str, make: bool = True) -> Iterator[tuple[int, str, list[str]]]:
        """The directory that `path` is in, its name there, and the names above it; the top has no name."""
        parts = descent.parts(path)
        last = parts.pop() if parts and parts[-1] != ".." else ""
        handle, names = descent.directory(self._top, "/".join(parts), make)
        with descent.closing(handle):
            yield handle, last, names


def _removed(folder: int, name: str, empty: bool) -> bool:
    """Whether there is nothing of that name now: a directory stays, but an empty one goes with `empty`."""
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode):
            os.unlink(name, dir_fd=folder)
        elif empty:
            os.rmdir(name, dir_fd=folder)
        else:
            return False
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def _link(old_folder: int, old: str, folder: int, name: str) -> None:
    """A hard link, or a copy of the file where the file system has none."""
    try:
        os.link(old, name, src_dir_fd=old_folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (*sparse.UNABLE, errno.EMLINK):
            raise
        with open(os.open(old, READ, dir_fd=old_folder), "rb") as original:
            mode = os.fstat(original.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise
            with open(os.open(name, WRITE, 0o600, dir_fd=folder), "wb") as copy:
                shutil.copyfileobj(original, copy)
                os.fchmod(copy.fileno(), stat.S_IMODE(mode))
