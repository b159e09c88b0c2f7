"""The overlay ISO: Rock Ridge and Joliet, the same bytes for the same files. The only importer of pycdlib."""

import contextlib
import errno
import io
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import BinaryIO, cast

from tasks.base.errors import UserError
from tasks.base.progress import amount
from tasks.formats.holes import HolesWriter

STEP = 1 << 20  # bytes; ISO sizes are multiples, so that a changed overlay rarely changes the disk's size
LARGEST = 8 << 30  # bytes; guests see a disk of this size, whatever the size of the ISO
LABEL_LENGTH = 32
_ZEROS = bytes(32 << 10)  # as much as pycdlib copies at a time
JOLIET_LENGTH = 64  # characters of a name in Joliet; Rock Ridge has the whole name
PLAIN = re.compile(r"[A-Za-z0-9._@+-]{1,100}")
JOLIET = re.compile(r"[^\x00-\x1f*/:;?\\\U00010000-\U0010ffff]{1,64}")


def write(out: Path, files: Mapping[str, Path], label: str, epoch: int) -> None:
    """Write an ISO with `files` (name in the root directory -> file) and volume id `label`.

    Raises UserError when it would be larger than the disk that guests see it as.
    """
    from pycdlib import PyCdlib

    total = sum(path.stat().st_size for path in files.values())
    if total > LARGEST - STEP:
        raise UserError(
            f"the overlays have {amount(total)} together, but an ISO may have only {amount(LARGEST)}",
            "install large overlays in an image: use `extends`, `overlays` and `size` in an image.yaml",
        )
    with _clock_at(epoch), contextlib.ExitStack() as sources:
        iso = PyCdlib()
        iso.new(interchange_level=4, vol_ident=label, rock_ridge="1.09", joliet=3)
        sparse = {name for name, path in files.items() if _is_sparse(path)}
        for (name, path), names in zip(files.items(), _names_on_disk(files), strict=True):
            if name in sparse:
                source = cast(BinaryIO, sources.enter_context(_SparseReader(path)))
                iso.add_fp(source, path.stat().st_size, *names, file_mode=0o100444)
            else:
                iso.add_file(str(path), *names, file_mode=0o100444)
        with out.open("wb") as plain:
            iso.write_fp(HolesWriter(plain) if sparse else plain)  # type: ignore[arg-type]
        iso.close()
    size = out.stat().st_size
    with out.open("ab") as file:
        file.truncate(-(-size // STEP) * STEP)


def _names_on_disk(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """The plain name, that of Rock Ridge (which guests see) and that of Joliet of each file.

    The first and the last allow neither all signs nor all lengths, so there odd names become numbers.
    """
    taken: set[str] = set()
    for number, name in enumerate(names):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{ascii(name)} cannot be on an ISO: the name is not UTF-8", "rename it"
            ) from None
        plain = name if PLAIN.fullmatch(name) else f"_{number:05d}"
        short = name[-JOLIET_LENGTH:]
        if short in taken or not JOLIET.fullmatch(short):
            short = f"_{number:05d}{PurePath(name).suffix if PLAIN.fullmatch(PurePath(name).suffix) else ''}"
        taken.add(short)
        yield f"/{plain}", name, f"/{short[:JOLIET_LENGTH]}"


def _is_sparse(path: Path) -> bool:
    info = path.stat()
    return info.st_blocks * 512 < info.st_size - STEP


class _SparseReader(io.RawIOBase):
    """A file to read from whose holes are not read: to be given their zeros would take most of the time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._size = path.stat().st_size
        self._at = 0
        self._data = 0  # up to here there are only zeros

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As a file's."""
        self._at = self._data = self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        """As a file's."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """As a file's: fewer than `size` bytes at the end of the file alone."""
        left = self._size - self._at
        size = left if size < 0 else min(size, left)
        if self._at >= self._data:
            self._data = self._next_data()
        if self._at + size > self._data:
            data = os.pread(self._file.fileno(), size, self._at)
        else:
            data = _ZEROS if size == len(_ZEROS) else bytes(size)
        self._at += len(data)
        return data

    def close(self) -> None:
        """As a file's."""
        self._file.close()
        super().close()

    def _next_data(self) -> int:
        try:
            return os.lseek(self._file.fileno(), self._at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # there is no data from here on
                raise
            return self._size


@contextlib.contextmanager
def _clock_at(epoch: int) -> Iterator[None]:
    """pycdlib has no option for the times of the volume: it takes them from the clock, in the host's zone."""
    now, local = time.time, time.localtime
    time.time, time.localtime = lambda: float(epoch), time.gmtime
    try:
        yield
    finally:
        time.time, time.localtime = now, local


def names(path: Path) -> list[str]:
    """The names in the root directory of an ISO, sorted."""
    from pycdlib import PyCdlib

    iso = PyCdlib()
    iso.open(str(path))
    try:
        children = [
            child.rock_ridge.name().decode() for child in iso.list_children(iso_path="/") if child.rock_ridge
        ]
    finally:
        iso.close()
    return sorted(name for name in children if name not in ("", ".", ".."))


def extract(path: Path, into: Path) -> list[str]:
    """Write the files in the root directory of an ISO to a directory; their names, sorted."""
    from pycdlib import PyCdlib

    files = names(path)
    iso = PyCdlib()
    iso.open(str(path))
    try:
        for name in files:
            iso.get_file_from_iso(str(into / name), rr_path=f"/{name}")
    finally:
        iso.close()
    return files


def contents(path: Path) -> Iterator[tuple[str, int, str | None, bytes]]:
    """Every file, directory and link of an ISO: path, mode, target of a link, content.

    Without Rock Ridge the mode has the type only. Raises ValueError when it is no ISO.
    """
    from pycdlib import PyCdlib
    from pycdlib.pycdlibexception import PyCdlibException

    iso = PyCdlib()
    try:
        iso.open(str(path))
    except PyCdlibException as error:
        raise ValueError(str(error)) from error
    kind = "rr_path" if iso.has_rock_ridge() else "joliet_path" if iso.has_joliet() else "iso_path"
    try:
        for folder, folders, names in iso.walk(**{kind: "/"}):
            for name in [*folders, *names]:
                where = f"{folder.rstrip('/')}/{name}"
                rock = getattr(iso.get_record(**{kind: where}), "rock_ridge", None)
                link = rock.symlink_path().decode() if rock and rock.is_symlink() else None
                content = io.BytesIO()
                if name in names and link is None:
                    iso.get_file_from_iso_fp(content, **{kind: where})
                mode = rock.get_file_mode() if rock else 0
                default = stat.S_IFDIR if name in folders else stat.S_IFREG
                yield where.lstrip("/"), mode or default, link, content.getvalue()
    finally:
        iso.close()
