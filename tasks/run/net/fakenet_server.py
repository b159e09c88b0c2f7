"""Starts and ends the pretended internet of a cluster (pretend.py)."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.base import helper, proc, records
from tasks.base.records import ProcessRecord
from tasks.definitions import addresses
from tasks.run.net import listening

ADDRESS = "203.0.113.80"  # of everything that is pretended (TEST-NET-3, RFC 5737)
HOST = addresses.v4(0, addresses.HOST)
PROGRAM = Path(__file__).parent / "programs" / "pretend.py"
HTTP = 80


def start(state: Path, names: Sequence[Path]) -> None:
    """Start the program, which listens at `names` for the frames of NICs; UserError when it does not."""
    sockets = [
        Path(f"{name}.{way}.{end}") for name in names for way in ("out", "in") for end in ("from", "to")
    ]
    _start(state, (), [HOST, *map(str, names)], lambda _: all(path.exists() for path in sockets))


def start_here(state: Path, inside: Sequence[str]) -> None:
    """Give the network that `inside` leads to the address, and start the program there."""
    proc.output([*inside, proc.need("ip"), "address", "replace", f"{ADDRESS}/32", "dev", "lo"])
    _start(state, inside, (), lambda pid: listening.listens(pid, HTTP))


def _start(state: Path, inside: Sequence[str], words: Sequence[str], ready: Callable[[int], bool]) -> None:
    program = helper.Helper(
        "the pretended internet did not start",
        [*inside, sys.executable, "-I", str(PROGRAM), ADDRESS, *words],
        state,
        state.with_suffix(".log"),
        state.parent,
    )
    helper.start(program, ready, ProcessRecord.at, undo=lambda: end(state))


def end_here(state: Path, inside: Sequence[str]) -> None:
    """Undo `start_here`; it is no error if nothing was started."""
    if running(state):
        proc.output([*inside, proc.need("ip"), "address", "delete", f"{ADDRESS}/32", "dev", "lo"])
    end(state)


def end(state: Path) -> None:
    """End the program; it is no error if it does not run."""
    records.end(state)
    for path in (state, state.with_suffix(".log")):
        path.unlink(missing_ok=True)


def running(state: Path) -> bool:
    """Whether it runs now."""
    return records.process(state) is not None
