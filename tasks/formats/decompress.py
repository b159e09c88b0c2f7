"""Unpacks a compressed stream while it comes: by the program of each format, on all cores."""

import contextlib
import fcntl
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.formats import compressed

PIPE = 1 << 20  # bytes that may wait between two programs
XZ_PROGRAM = ("xz", "--decompress", "--stdout", "--threads=0")
ZSTD_PROGRAM = ("zstd", "--decompress", "--stdout", "--long=31", "--threads=0")
LZ4_PROGRAM = ("lz4", "--decompress", "--stdout")
# How a file of each kind begins, and what unpacks it.
PROGRAMS = {
    compressed.XZ: XZ_PROGRAM,
    compressed.GZIP: ("gzip", "--decompress", "--stdout"),
    b"\x1f\x9d": ("gzip", "--decompress", "--stdout"),  # compress(1), a file .Z
    b"LZIP": ("lzip", "--decompress", "--stdout"),
    b"\x04\x22\x4d\x18": LZ4_PROGRAM,
    b"\x02\x21\x4c\x18": LZ4_PROGRAM,  # as Linux' own
}
BLOCK, EMPTY = b"1AY&SY", b"\x17rE8P\x90"  # what follows BZh and a digit
SNIFF = 13
GARBAGE = "trailing garbage ignored"  # a warning of gzip, which ends with 2 then


def program(head: bytes) -> tuple[str, ...] | None:
    """What unpacks a file that begins so; None when it is not compressed."""
    if compressed.is_zstd(head):
        return ZSTD_PROGRAM
    if head.startswith(compressed.BZIP2) and head[4:10] in (BLOCK, EMPTY):
        return ("bzip2", "--decompress", "--stdout")
    if head[:1] == b"\x5d" and len(head) >= SNIFF and _is_lzma(head):
        return XZ_PROGRAM
    return next((argv for magic, argv in PROGRAMS.items() if head.startswith(magic)), None)


def _is_lzma(head: bytes) -> bool:
    """The old format of xz has no magic: a size of a dictionary, and a size that is one, or unknown."""
    dictionary, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    return dictionary >= 1 << 12 and dictionary.bit_count() <= 2 and (size == 2**64 - 1 or size < 1 << 40)


Take = Callable[[IO[bytes]], None]


class Unpacker:
    """A sink of a download. `take` reads the unpacked bytes from a file, in a thread of its own.

    `finish` raises the errors of unpacking, not `write`: if the download itself is wrong, that is the more
    useful error. Only an error that no further byte can mend (a full disk) ends the download at once.
    """

    def __init__(self, take: Take, what: str, out: Path) -> None:
        self._take = take
        self._what = what
        self._out = out  # what `take` writes, for messages
        self._head = b""
        self._run: _Run | None = None
        self._broken = False

    def restart(self) -> None:
        """Begin again."""
        self.abort()
        self._head, self._broken = b"", False

    def write(self, chunk: bytes) -> None:
        """The next bytes."""
        if self._run is None:
            self._head += chunk
            if len(self._head) < SNIFF:
                return
            chunk = self._begin()
        self._push(chunk)

    def finish(self) -> None:
        """Call it after the last byte. Raises UserError if the bytes were damaged, or what `take` raised."""
        if self._run is None:
            self._push(self._begin())
        run, self._run = self._run, None
        if run:
            run.end(self._what)

    def abort(self) -> None:
        """Stop; what `take` has read is of no use."""
        run, self._run = self._run, None
        if run:
            run.kill()

    def _begin(self) -> bytes:
        self._run = _Run(program(self._head), self._take, self._out)
        head, self._head = self._head, b""
        return head

    def _push(self, chunk: bytes) -> None:
        assert self._run
        if self._broken:
            return
        try:
            self._run.push(chunk)
        except BrokenPipeError:
            self._broken = True
            self._run.hopeless()


class _Run:
    """One program between two pipes, and the thread that reads what it unpacks."""

    def __init__(self, argv: tuple[str, ...] | None, take: Take, out: Path) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if argv:
            self._process = proc.filter(argv)
            assert self._process.stdin and self._process.stdout
            self._feed, reader = self._process.stdin.fileno(), self._process.stdout.fileno()
        else:
            reader, self._feed = os.pipe()
        for end in (self._feed, reader):
            with contextlib.suppress(OSError):  # it may be more than an ordinary user is allowed
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE)
        self._error: UserError | None = None
        self._reader = os.fdopen(os.dup(reader), "rb", buffering=0)
        if self._process and self._process.stdout:
            self._process.stdout.close()
        elif not argv:
            os.close(reader)
        self._thread = threading.Thread(target=self._read, args=[take, out], daemon=True)
        self._thread.start()

    def _read(self, take: Take, out: Path) -> None:
        try:
            with (
                open(self._reader.fileno(), "rb", buffering=PIPE, closefd=False) as buffered,
                files.explained(out),
            ):
                take(buffered)
                while buffered.read(PIPE):  # what follows a member of a tar
                    pass
        except UserError as error:
            self._error = error
        except (tarfile.TarError, OSError, EOFError) as error:
            self._error = UserError(str(error))
        finally:
            self._reader.close()

    def push(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._feed, view) :]

    def hopeless(self) -> None:
        """Raise the error of `take`, if that error is why nobody reads any more."""
        self._thread.join(5)
        if self._error and isinstance(self._error.__cause__, OSError):
            raise self._error

    def end(self, what: str) -> None:
        self._close()
        self._thread.join()
        code, complaint = proc.finish(self._process) if self._process else (0, "")
        if self._error and isinstance(self._error.__cause__, OSError):
            raise self._error
        if self._error:
            raise UserError(f"{what}: {self._error.args[0]}", self._error.hint)
        if code and not (code == 2 and GARBAGE in complaint):
            raise UserError(
                f"{what} came completely, but it cannot be unpacked: {complaint.strip()}",
                "the file is damaged at its source: take another version of it",
            )

    def kill(self) -> None:
        if self._process:
            self._process.kill()
        self._close()
        self._thread.join()
        if self._process:
            proc.finish(self._process)

    def _close(self) -> None:
        if self._process and self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        elif not self._process and self._feed >= 0:
            os.close(self._feed)
            self._feed = -1
