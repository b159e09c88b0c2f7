"""What people and programs are told while something runs, on stderr: lines, a bar, or events as JSON.

`-v` and `-q` decide how much, `--progress=json` in which form. And how much was downloaded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

CLEAR = "\r\033[K"  # of a terminal's line
# What a terminal obeys, and what turns the direction of text; a newline and a tab are fine.
CONTROLS = {
    sign: f"\\x{sign:02x}" if sign < 256 else f"\\u{sign:04x}"
    for sign in (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_downloaded = 0
_stream = False  # events, one JSON object a line
_verbose = False
_quiet = False
_step_shown = False  # the name of a step stands on the terminal

# mypy knows this name; at run time `typing` would cost every verb a few milliseconds.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from tasks.base.reminder import Reminder

_reminder: Reminder | None = None


def configure(options: Mapping[str, str]) -> None:
    """Take over what the command line says of it: the options verbose, quiet and progress."""
    global _stream, _verbose, _quiet
    _stream = _stream or options.get("progress") == "json"
    _verbose = _verbose or "verbose" in options
    _quiet = _quiet or "quiet" in options


def is_stream() -> bool:
    """Whether events are wanted in place of lines."""
    return _stream


def is_verbose() -> bool:
    """Whether more is wanted than usual."""
    return _verbose


def visible(text: str) -> str:
    """Text for a terminal, with the control characters of servers, archives and programs written as \\x1b."""
    return text.replace("\r\n", "\n").translate(CONTROLS)


def say(text: str) -> None:
    """One line for a person."""
    if _stream:
        event("message", text=text)
    elif not _quiet:
        _line(text)


def detail(text: str) -> None:
    """One line for a person who asked for more."""
    if _verbose:
        say(text)


def waiting(whom: str, what: str, left: float) -> None:
    """What is waited for, of whom, and for how many seconds at most: a line, or an event."""
    if _stream:
        event("waiting", server=whom, text=what, seconds_left=left)
    else:
        say(f"{whom}: {what}; given up in {left:.0f} s unless more comes")


def event(kind: str, **facts: Any) -> None:
    """What happened, for a program: {"time", "event", ...}; nothing unless events are wanted."""
    if not _stream:
        return
    import json

    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"
    values = {name: value for name, value in facts.items() if value is not None}
    _line(json.dumps({"time": stamp, "event": kind, **values}))


def pending(task: str, why: Sequence[str]) -> None:
    """A task of a build is going to run, and why: for a person who asked for more, or for a program."""
    event("pending", task=task, why=list(why))
    if _verbose and not _stream:
        _line("\n".join(f"{task:<24} because {reason}" for reason in why) or f"{task:<24} has to be made")


def begin(task: str, doc: str) -> None:
    """A task of a build begins."""
    event("task", task=task, state="started", doc=doc)
    if not _stream and not _quiet:
        _line(f"{task:<24} {doc}")
    _remind(task)


def done(task: str, seconds: float) -> None:
    """A task of a build ended well."""
    ended(task)
    event("task", task=task, state="done", seconds=round(seconds, 3))
    if not _stream and not _quiet and seconds >= 1:
        _line(f"{task:<24} done in {seconds:.1f} s")


def ended(what: str) -> None:
    """A task or a step has ended, well or not: nobody has to be told any more that it goes on."""
    if _reminder:
        _reminder.end(what)


def _remind(what: str) -> None:
    """Tell now and then that a task or a step goes on, where no terminal shows it."""
    global _reminder
    if _stream or _quiet or sys.stderr.isatty():
        return
    if _reminder is None:
        from tasks.base.reminder import Reminder

        _reminder = Reminder(_line)
    _reminder.begin(what)


def _line(text: str) -> None:
    _clear_step()
    if _reminder:
        _reminder.heard()
    try:
        print(visible(text), file=sys.stderr, flush=True)
    except OSError:  # nobody reads; that is no reason to end
        pass


class Step:
    """A part of what a verb does: two events for programs, a line with `-v`.

    A terminal shows its name while it lasts.
    """

    def __init__(self, name: str, **facts: Any) -> None:
        self._name, self._facts = name, facts

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        event("step", step=self._name, state="started", **self._facts)
        if sys.stderr.isatty() and not _stream and not _quiet:
            _show_step(self._name)
        _remind(self._name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        _clear_step()
        ended(self._name)
        event("step", step=self._name, state="failed" if kind else "done", seconds=seconds)
        if not _stream:
            detail(f"{self._name}: {seconds:.1f} s")


def _show_step(name: str) -> None:
    global _step_shown
    _step_shown = True
    print(f"{CLEAR}{visible(name)} ...", end="", file=sys.stderr, flush=True)


def _clear_step() -> None:
    global _step_shown
    if _step_shown:
        print(CLEAR, end="", file=sys.stderr, flush=True)
    _step_shown = False


class Bar:
    """A progress bar on stderr; silent where stderr is no terminal. Events, where these are wanted."""

    def __init__(self, what: str, total: int | None, unit: str = "B") -> None:
        self._what, self._total, self._unit = what, total, unit
        self._at, self._shown = 0, 0.0
        self._bar: Any = None
        if sys.stderr.isatty() and not _stream and not _quiet:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                desc=visible(what),
                unit=unit,
                unit_scale=unit == "B",
                unit_divisor=1024,
                leave=False,
                file=sys.stderr,
                dynamic_ncols=True,
            )

    def __enter__(self) -> Self:
        return self

    def to(self, position: int) -> None:
        """Move to `position`, in units from the start."""
        if position <= self._at:
            return
        if self._bar is not None:
            self._bar.update(position - self._at)
        self._at = position
        if _stream and (time.monotonic() - self._shown >= 0.5 or position == self._total):
            self._shown = time.monotonic()
            self._tell()

    def _tell(self) -> None:
        percent = round(100 * self._at / self._total, 1) if self._total else None
        event("progress", step=self._what, at=self._at, total=self._total, unit=self._unit, percent=percent)

    def add(self, amount: int) -> None:
        """Move on by `amount` units."""
        self.to(self._at + amount)

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._unit == "B" and kind is None:
            count_download(self._at)


def count_download(amount: int) -> None:
    """Add to the bytes this run has downloaded."""
    global _downloaded
    _downloaded += amount


def downloaded() -> int:
    """Bytes this run has downloaded."""
    return _downloaded


def amount(size: int) -> str:
    """Bytes in the unit that fits: '0 B', '12.3 MiB'."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
