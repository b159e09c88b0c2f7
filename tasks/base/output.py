"""What goes to stdout and stderr as a whole: `-o json`, errors, and what to do when nobody can be told."""

from __future__ import annotations

import errno
import io
import os
import sys

from tasks.base.errors import UserError

_as_json = False  # whether errors are told as JSON


def expect_json(on: bool) -> None:
    """Tell errors as JSON from now on: `-o json` was asked for."""
    global _as_json
    _as_json = on


def as_json(value: object) -> None:
    """The data of a verb, on stdout, for programs."""
    import json

    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def error(problem: UserError | str, where: str = "") -> None:
    """Tell an error on stderr: as text, or after `-o json` as one line {"error", "hint"}.

    What fails because a signal ends the run is not told: that has its own line.
    """
    from tasks.base import progress, signals

    if signals.number() is not None:
        return

    message, hint = str(problem), None
    if isinstance(problem, UserError):
        message, hint = problem.message, problem.hint
    if progress.is_stream():
        progress.event("error", error=message, hint=hint, task=where or None)
    elif _as_json:
        import json

        _write(json.dumps({"error": message, "hint": hint}) + "\n")
    else:
        _write(f"error: {where + ': ' if where else ''}{message}\n" + (f"  hint: {hint}\n" if hint else ""))


def _write(text: str) -> None:
    from tasks.base import progress

    sys.stderr.write(progress.visible(text))
    sys.stderr.flush()


def last_line(text: str) -> None:
    """Tell why the run was ended, whatever it was at."""
    _write(text + "\n")


class _Stream(io.FileIO):
    """A standard stream of ours. If it does not wait by itself (O_NONBLOCK, which a caller has set), we wait.

    What cannot be written to a lossy one is lost: there is nobody else to tell.
    """

    def __init__(self, number: int, lossy: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self._lossy = lossy

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """As the base class, which returns None where the reader is not ready."""
        try:
            while (written := super().write(data)) is None:
                self._wait()
        except OSError:
            if not self._lossy:
                raise
            return len(data)
        return written

    def _wait(self) -> None:
        import select

        select.select([], [self.fileno()], [])


def open_streams() -> None:
    """Give the process the standard streams that its caller has closed, and those that wait for their reader.

    What is opened next must not take their numbers. A write to a closed stdout has to fail, as with other
    programs; one to a stderr that is closed, full or not read goes nowhere.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    if sys.stdout is sys.__stdout__:  # else somebody of this process reads along
        sys.stdout = _text(1, lossy=False)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(2, lossy=True)


def _text(number: int, lossy: bool) -> io.TextIOWrapper:
    before = sys.__stderr__ if lossy else sys.__stdout__
    raw = _Stream(number, lossy)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),  # type: ignore[type-var]
        before.encoding if before else None,
        before.errors if before else "backslashreplace",
        line_buffering=lossy or raw.isatty(),
        write_through=bool(os.environ.get("PYTHONUNBUFFERED")),
    )


def flushed(code: int) -> int:
    """Write what stdout still holds; the exit code, which is 1 if that fails and nothing else did.

    A reader that has gone has seen enough: that is no failure.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as problem:
        return lost(problem) or code
    return code


def lost(problem: OSError) -> int:
    """What a failed write to stdout means for the exit code; a reason is told. Later output goes nowhere."""
    _discard(1)
    if problem.errno == errno.EPIPE:
        return 0
    error(f"cannot write to stdout: {problem.strerror}")
    return 1


def of_stdout(problem: OSError) -> bool:
    """Whether an error came from writing to stdout: it names no file."""
    return problem.filename is None and problem.errno in (errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO)


def _discard(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
