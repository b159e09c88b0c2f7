"""A path of a small file ──> its content; an error for a pipe, a device or something huge in its place."""

import errno
import os
import stat
from pathlib import Path

MOST = 64 << 20  # bytes; no state file of ours has as many


def read(path: Path, most: int = MOST) -> bytes:
    """The content of a file of at most `most` bytes. It never waits, as opening a pipe would.

    Raises OSError with the reason for anything else that is there.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        what = "a directory" if stat.S_ISDIR(kind) else "a pipe or a device"
        raise OSError(errno.EINVAL, f"it is {what}, not a file")
    with open(handle, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is too large: at most {most >> 20} MiB are read")
    return content
