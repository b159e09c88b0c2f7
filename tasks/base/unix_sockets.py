"""The path of a unix socket, however long and whatever is in it -> one that the kernel takes.

The kernel takes 107 bytes. So a socket is named from its directory, which is kept open: the path is
/proc/self/fd/N/NAME.
"""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from tasks.base import proc

# Where a program that was started `beside` sockets finds them: 9 is the last number that any shell takes.
HERE = Path("/proc/self/fd/9")
_OPEN = 'exec 9<"$0"; exec "$@"'


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A path of the socket `path` for this process, while the block runs.

    Raises FileNotFoundError, or another OSError, when its directory is not there.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(link: socket.socket, path: Path) -> None:
    """Connect with the socket `path`. Raises OSError."""
    with reachable(path) as short:
        link.connect(short)


def beside(folder: Path, argv: Sequence[str]) -> list[str]:
    """The command for a program that knows the sockets in `folder` as HERE / NAME.

    Raises UserError when the program is missing.
    """
    return ["/bin/sh", "-c", _OPEN, str(folder), proc.need(argv[0]), *argv[1:]]
