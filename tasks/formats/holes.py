"""Content with many zeros -> a file in which they are holes, which take no room and no time to write."""

import os
from typing import IO

BLOCK = 1 << 20  # bytes at a time
LEAST = 4096  # bytes; shorter zeros are written


class HolesWriter:
    """A file to write to at its end, in which zeros become holes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.flush = file.seek, file.tell, file.flush

    def write(self, data: bytes) -> int:
        """As a file's."""
        if len(data) < LEAST or data.count(0) != len(data):
            return self._file.write(data)
        end = self._file.seek(len(data), os.SEEK_CUR)
        if end > os.fstat(self._file.fileno()).st_size:
            self._file.truncate(end)
        return len(data)


def copy(source: IO[bytes], out: IO[bytes]) -> int:
    """Write all that `source` still has to `out`; the bytes it had."""
    writer, length = HolesWriter(out), 0
    while block := source.read(BLOCK):
        writer.write(block)
        length += len(block)
    return length
