"""Progress for people: a bar on a terminal, else only the lines of the tasks. And what was downloaded."""

import sys
from types import TracebackType
from typing import Self

CLEAR = "\r\033[K"  # of a terminal's line
_downloaded = 0
_step_shown = False


class Bar:
    """A progress bar on stderr; silent where stderr is no terminal."""

    def __init__(self, what: str, total: int | None, unit: str = "B") -> None:
        from tqdm import tqdm

        self._unit = unit
        self._bar = tqdm(
            total=total,
            desc=what,
            unit=unit,
            unit_scale=unit == "B",
            unit_divisor=1024,
            leave=False,
            disable=not sys.stderr.isatty(),
            file=sys.stderr,
            dynamic_ncols=True,
        )
        self._at = 0

    def __enter__(self) -> Self:
        return self

    def to(self, position: int) -> None:
        """Move to `position`, in units from the start."""
        if position > self._at:
            self._bar.update(position - self._at)
            self._at = position

    def add(self, amount: int) -> None:
        """Move on by `amount` units."""
        self.to(self._at + amount)

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
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


class Step:
    """A part of what a verb does: named on a terminal while it lasts, in a line that goes with it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> Self:
        global _step_shown
        _step_shown = sys.stderr.isatty()
        if _step_shown:
            print(f"{CLEAR}{self._name} ...", end="", file=sys.stderr, flush=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        _clear_step()


def _clear_step() -> None:
    global _step_shown
    if _step_shown:
        print(CLEAR, end="", file=sys.stderr, flush=True)
    _step_shown = False


def say(text: str) -> None:
    """One line for a person, on stderr."""
    _clear_step()
    print(text, file=sys.stderr, flush=True)


def amount(size: int) -> str:
    """Bytes in the unit that fits: '0 B', '12.3 MiB'."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
