"""A file that may be compressed ──> its plain bytes; its first bytes say how, and not its name."""

import bz2
import gzip
import io
import lzma
import sys
import zlib
from pathlib import Path
from typing import IO, Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 1 << 18
GZIP, ZSTD, BZIP2, XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0"
SKIPPABLE = b"\x2a\x4d\x18"  # of zstd, behind a byte from 0x50 to 0x5f: a frame to be passed over
LARGEST_WINDOW = 31  # 2 GiB, what `zstd --ultra --long=31` writes
# Raised while bytes are read that cannot be unpacked.
DAMAGED = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zstd.ZstdError)


def is_zstd(head: bytes) -> bool:
    """Whether a file begins with a frame of zstd, or with one to be skipped, as pzstd writes it first."""
    return head[:4] == ZSTD or (head[1:4] == SKIPPABLE and 0x50 <= head[0] <= 0x5F)


def tar_fault(error: Exception) -> str:
    """What is wrong with a tar that could not be read; tarfile has a line for each compression it tried."""
    if str(error).startswith("file could not be opened successfully"):
        return "it is no tar file"
    return f"it is a damaged tar, or none: {error}"


def opened(path: Path) -> IO[bytes]:
    """The plain bytes of a file, all frames, members and streams of it. Reading raises one of DAMAGED."""
    with path.open("rb") as file:
        head = file.read(6)
    if head[:2] == GZIP:
        return io.BufferedReader(_Gzip(path), CHUNK)
    if is_zstd(head):
        return zstd.open(path, options={zstd.DecompressionParameter.window_log_max: LARGEST_WINDOW})  # type: ignore[return-value]
    if head[:3] == BZIP2:
        return _Bzip2(path)
    return io.BufferedReader(_Xz(path), CHUNK) if head == XZ else path.open("rb")


class _Bzip2(bz2.BZ2File):
    """Its errors are those of damaged files, and not of the system."""

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        """As any file."""
        try:
            return super().read(size)
        except OSError as error:
            if error.errno:
                raise
            raise EOFError(str(error)) from error


class _Members(io.RawIOBase):
    """All members of a file, with zeros between. What follows them is passed over, as gzip(1) does it."""

    magic: bytes

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rest = b""
        self._member = self._begin()
        self._ended = False

    def _begin(self) -> Any:
        """What unpacks one member."""
        raise NotImplementedError

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """With the file below."""
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """As any file. Raises EOFError in the middle of a member."""
        data = b""
        while not data and not self._ended:
            hungry = getattr(self._member, "needs_input", True)
            packed = self._rest or (self._file.read(CHUNK) if hungry else b"")
            if not packed and hungry:
                raise EOFError("it ends before its end")
            data = self._member.decompress(packed, len(buffer))
            self._rest = getattr(self._member, "unconsumed_tail", b"")
            if self._member.eof:
                self._next()
        buffer[: len(data)] = data
        return len(data)

    def _next(self) -> None:
        """Another member, behind zeros or not, or the end."""
        self._rest = self._member.unused_data.lstrip(b"\0")
        while len(self._rest) < len(self.magic) and (more := self._file.read(CHUNK)):
            self._rest = (self._rest + more).lstrip(b"\0")
        self._ended = not self._rest.startswith(self.magic)
        self._member = self._begin()


class _Gzip(_Members):
    """Python's own refuses what follows."""

    magic = GZIP

    def _begin(self) -> Any:
        return zlib.decompressobj(31)


class _Xz(_Members):
    """Python's own takes padding between streams for the end."""

    magic = XZ

    def _begin(self) -> Any:
        return lzma.LZMADecompressor()
