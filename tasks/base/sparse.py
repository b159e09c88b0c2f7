"""Files with holes: a file ──> a copy that has the same holes."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

# What a file system says that cannot do something, or not together with another one.
UNABLE = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.ETXTBSY)


def copy(source: Path, target: Path) -> None:
    """Copy a file and its holes; the two share their blocks where the file system can do that."""
    with source.open("rb") as old, target.open("wb") as new:
        new.truncate(os.fstat(old.fileno()).st_size)
        for at, end in extents(old.fileno()):
            while at < end:
                at += _copied(old.fileno(), new.fileno(), at, end) or end - at  # it became shorter


def extents(file: int) -> Iterator[tuple[int, int]]:
    """Where an open file has data: begin and end of each piece; all of it without holes."""
    size, at = os.fstat(file).st_size, 0
    while at < size:
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
            end = os.lseek(file, at, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole to the end
                return
            if error.errno not in UNABLE:
                raise
            end = size
        yield at, end
        at = end


def _copied(old: int, new: int, at: int, end: int) -> int:
    """How many bytes were copied, by the kernel if these file systems let it; 0 at the end of the file."""
    try:
        return os.copy_file_range(old, new, end - at, at, at)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    data = os.pread(old, min(end - at, 1 << 20), at)
    return os.pwrite(new, data, at) if data else 0
