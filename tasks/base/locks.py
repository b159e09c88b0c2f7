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


@signals.waiting
def _lock(path: Path, wait: bool, busy: str) -> int:
    while True:
        same = False
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            owner = os.pread(handle, 20, 0).decode(errors="replace").strip()
            os.close(handle)
            raise UserError(
                busy + (f" (process {owner})" if owner else ""), "wait until it has ended, or end it"
            ) from None
        # The previous holder removes the file: the one that we locked may not be the one that others see.
        with contextlib.suppress(FileNotFoundError):
            same = os.fstat(handle).st_ino == path.stat().st_ino
        if same:
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            return handle
        os.close(handle)
