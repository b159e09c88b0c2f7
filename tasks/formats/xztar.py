"""xz files and tars of releases: the same content gives the same bytes, however many processors there are.

An xz file is one stream in blocks of a fixed length, so that it is also unpacked by all processors.
"""

import contextlib
import errno
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.base import limits, proc
from tasks.base.errors import CommandError

BLOCK = 16 << 20  # bytes of input in a block; part of what decides the bytes, as PRESET is
BUFFER = 1 << 20  # bytes that wait for xz
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


@contextlib.contextmanager
def compressed(out: Path) -> Iterator[IO[bytes]]:
    """A file to write to; what is written is in `out`, compressed, when the block has ended well.

    Raises OSError when the disk is full, CommandError when xz fails for another reason.
    """
    # With one thread xz would leave the lengths of blocks out, and the bytes would be others.
    threads = max(2, limits.processors())
    command = ["xz", "--stdout", f"-{PRESET}", f"--block-size={BLOCK}", f"--threads={threads}"]
    with out.open("wb") as file:
        process = proc.filter(command, stdout=file)
        assert process.stdin
        sink = io.BufferedWriter(process.stdin, BUFFER)
        try:
            yield sink
            sink.close()
        except BrokenPipeError:
            pass  # xz itself says why
        except BaseException:
            process.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                sink.close()
            code, message = proc.finish(process)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(number) in message:
            raise OSError(number, os.strerror(number), str(out))
    if code:
        raise CommandError(f"'{proc.quoted(command)}' failed with exit code {code}: {message.strip()}")


def write_xz(source: Path, out: Path, seen: Callable[[int], None] = lambda _: None) -> None:
    """Compress a file; `seen` is told the bytes that were read."""
    with compressed(out) as sink, source.open("rb") as file:
        while block := file.read(1 << 20):
            sink.write(block)
            seen(len(block))


def write_tar_xz(
    entries: Iterable[TarEntry], out: Path, epoch: int, seen: Callable[[int], None] = lambda _: None
) -> None:
    """Write a tar.xz: sorted, with every directory above a file, owner 0, one time, modes 755 and 644."""
    by_name = {entry.name: entry for entry in entries}
    folders = {parent for name in by_name for parent in _parents(name)}
    with compressed(out) as sink, tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(by_name.keys() | folders, key=lambda name: name.split("/")):
            entry = by_name.get(name)
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
