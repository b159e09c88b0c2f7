"""xz files and tars of releases: the same content gives the same bytes, however many processors there are.

An xz file is written as a row of streams, each of one block of the input; xz and tar read it as one file.
"""

import io
import lzma
import os
import stat
import tarfile
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

BLOCK = 16 << 20  # bytes of input in a stream; part of what decides the bytes, as PRESET is
PRESET = 1  # four times as quick as 6, an eighth larger


@dataclass(frozen=True)
class TarEntry:
    """One file of a tar: where its content is (or the content itself), or a link with its target."""

    name: str
    source: Path | bytes = b""
    executable: bool = False
    link: str | None = None

    @property
    def size(self) -> int:
        """Bytes of content."""
        if self.link is not None:
            return 0
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


class XzWriter(io.RawIOBase):
    """A file to write to, which compresses blocks with all processors and keeps their order."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        self._file = out.open("wb")
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._pending: deque[Future[bytes]] = deque()
        self._block = bytearray()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: object) -> int:
        """Take `data`; a full block goes to a processor."""
        block = memoryview(data)  # type: ignore[arg-type]
        self._block += block
        while len(self._block) >= BLOCK:
            self._submit(bytes(self._block[:BLOCK]))
            del self._block[:BLOCK]
        return len(block)

    def close(self) -> None:
        """Compress and write what is left."""
        if self.closed:
            return
        try:
            if self._block or not self._file.tell() and not self._pending:
                self._submit(bytes(self._block))
                self._block.clear()
            self._drain(0)
        finally:
            self._end()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:  # nothing of it will be kept
            self._end()
        else:
            self.close()

    def __enter__(self) -> Self:
        return self

    def _submit(self, block: bytes) -> None:
        self._pending.append(self._pool.submit(lzma.compress, block, preset=PRESET))
        self._drain((os.cpu_count() or 1) + 1)

    def _drain(self, left: int) -> None:
        while len(self._pending) > left:
            self._file.write(self._pending.popleft().result())

    def _end(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        try:
            self._file.close()
        finally:
            super().close()


def write_xz(source: Path, out: Path, seen: Callable[[int], None] = lambda _: None) -> None:
    """Compress a file; `seen` is told the bytes that were read."""
    with XzWriter(out) as sink, source.open("rb") as file:
        while block := file.read(1 << 20):
            sink.write(block)
            seen(len(block))


def write_tar_xz(
    entries: Iterable[TarEntry], out: Path, epoch: int, seen: Callable[[int], None] = lambda _: None
) -> None:
    """Write a tar.xz: sorted, with every directory above a file, owner 0, one time, modes 755 and 644."""
    named = {entry.name: entry for entry in entries}
    folders = {parent for name in named for parent in _parents(name)}
    with XzWriter(out) as sink, tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(named.keys() | folders, key=lambda name: name.split("/")):
            entry = named.get(name)
            if entry is None:
                tar.addfile(_info(name, tarfile.DIRTYPE, 0o755, epoch))
            else:
                _add(tar, entry, epoch)
                seen(entry.size)


def is_executable(path: Path) -> bool:
    """Whether its owner may run a file."""
    return bool(path.stat().st_mode & stat.S_IXUSR)


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _add(tar: tarfile.TarFile, entry: TarEntry, epoch: int) -> None:
    if entry.link is not None:
        info = _info(entry.name, tarfile.SYMTYPE, 0o777, epoch)
        info.linkname = entry.link
        tar.addfile(info)
        return
    info = _info(entry.name, tarfile.REGTYPE, 0o755 if entry.executable else 0o644, epoch)
    with io.BytesIO(entry.source) if isinstance(entry.source, bytes) else entry.source.open("rb") as file:
        info.size = file.seek(0, os.SEEK_END)
        file.seek(0)
        tar.addfile(info, file)


def _info(name: str, kind: bytes, mode: int, epoch: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, epoch
    return info
