"""Column and row -> the place of a window on the screen; and which place a new window gets.

Columns and rows count from 1. The measures are upstream's, and so are the variables that change them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Cell = tuple[int, int]  # column and row

VARIABLES = ("XCLUSTER_LAYOUT", "XCLUSTER_OFFSET")
MEASURES = {"dx": "550", "dy": "220", "sz": "80x12", "rows": "4", "xo": "20", "yo": "50"}


@dataclass(frozen=True, eq=False, repr=False)
class Raster:
    """Where windows are: `dx`, `dy` pixels apart, the first one at `xo`, `yo`; `sz` characters large."""

    dx: int
    dy: int
    sz: str
    rows: int  # in a column
    xo: int
    yo: int

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Raster:
        """The raster that the variables describe (`dx=550;dy=220`). ValueError names a wrong one."""
        values = dict(MEASURES)
        for name in VARIABLES:
            for part in re.split(r"[;\s]+", environ.get(name, "")):
                key, joint, value = part.partition("=")
                if joint and key in MEASURES:
                    values[key] = _measure(name, key, value.strip("'\""))
        return cls(sz=values.pop("sz"), **{key: int(value) for key, value in values.items()})

    def geometry(self, cell: Cell) -> str:
        """The place as xterm's -geometry has it."""
        across, down = self.xo + (cell[0] - 1) * self.dx, self.yo + (cell[1] - 1) * self.dy
        return f"{self.sz}+{across}+{down}"


def _measure(name: str, key: str, value: str) -> str:
    form, example = (r"[1-9]\d{0,3}x[1-9]\d{0,3}", "80x12") if key == "sz" else (r"-?\d{1,5}", MEASURES[key])
    least = 1 if key == "rows" else -99999
    if not re.fullmatch(form, value) or (key != "sz" and int(value) < least):
        raise ValueError(f"{name}: {key}={value} is no measure such as {key}={example}")
    return value


def places(taken: Mapping[Cell, str], roles: Sequence[str], rows: int) -> Iterable[Cell]:
    """A free cell for a window of each role, one after the other; a column has windows of one role only.

    `taken` are the cells that have a window, with its role.
    """
    held = dict(taken)
    for role in roles:
        column = 1
        while True:
            others = {own for (at, _), own in held.items() if at == column and own != role}
            free = next((row for row in range(1, rows + 1) if (column, row) not in held), None)
            if not others and free:
                break
            column += 1
        held[column, free] = role
        yield column, free
