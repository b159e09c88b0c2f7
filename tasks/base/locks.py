"""Lock files between processes: a path -> the lock, held while a block runs; or who holds it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tasks.base import files, signals
from tasks.base.errors import UserError


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True, busy: str = "") -> Iterator[None]:
    """Hold the lock file `path` (flock); it is removed afterwards.

    Without `wait`, raise UserError(`busy`) when another process has it.
    """
    with files.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _lock(path, wait, busy)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the lock files in `folder` that killed processes have left."""
    for path in folder.glob(".*.lock"):
        with contextlib.suppress(UserError, OSError), locked(path, wait=False):
            pass  # whoever holds a lock removes it at the end


def is_held(lock: Path) -> bool:
    """Whether a process has the lock."""
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _lock(path: Path, wait: bool, busy: str) -> int:
    while True:
        same = False
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _wait_for(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
            os.close(handle)
            raise UserError(
                busy + (f" (process {owner})" if owner else ""), "wait until it has ended, or end it"
            ) from None
        except BaseException:
            with contextlib.suppress(OSError):  # a signal came when it was ours already
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            os.close(handle)
            raise
        # The previous holder removes the file: the one that we locked may not be the one that others see.
        with contextlib.suppress(FileNotFoundError):
            same = os.fstat(handle).st_ino == path.stat().st_ino
        if same:
            with contextlib.suppress(OSError):  # for who finds it busy; a full disk does not matter
                os.ftruncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
            return handle
        os.close(handle)


@signals.waiting
def _wait_for(handle: int, how: int) -> None:
    fcntl.flock(handle, how)
