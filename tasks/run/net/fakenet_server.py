"""Starts and ends the pretended internet of a cluster (pretend.py)."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.definitions import addresses

ADDRESS = "203.0.113.80"  # of everything that is pretended (TEST-NET-3, RFC 5737)
HOST = addresses.v4(0, addresses.HOST)
PROGRAM = Path(__file__).parent / "programs" / "pretend.py"
PATIENCE = 10.0  # seconds for the program to listen


def start(state: Path, names: Sequence[Path]) -> None:
    """Start the program, which listens at `names` for the frames of NICs; UserError when it does not."""
    log = state.with_suffix(".log")
    argv = [sys.executable, "-P", "-s", str(PROGRAM), ADDRESS, HOST, *map(str, names)]
    process = proc.spawn(argv, log, env={"PYTHONPATH": str(PROGRAM.parents[4])})
    files.write_json(state, proc.mark(process.pid))
    deadline = time.monotonic() + PATIENCE
    expected = [
        Path(f"{name}.{way}.{end}") for name in names for way in ("out", "in") for end in ("from", "to")
    ]
    while not all(path.exists() for path in expected):
        if process.poll() is not None or time.monotonic() > deadline:
            end(state)
            raise UserError(f"the pretended internet did not start: {log.read_text().strip()}")
        time.sleep(0.002)


def start_here(state: Path, inside: Sequence[str]) -> None:
    """Give the network that `inside` leads to the address, and start the program there."""
    log = state.with_suffix(".log")
    own = [*inside, proc.need("ip"), "address", "replace", f"{ADDRESS}/32", "dev", "lo"]
    proc.output(own)
    argv = [*inside, sys.executable, "-P", "-s", str(PROGRAM), ADDRESS]
    process = proc.spawn(argv, log, env={"PYTHONPATH": str(PROGRAM.parents[4])})
    files.write_json(state, proc.mark(process.pid))


def end_here(state: Path, inside: Sequence[str]) -> None:
    """Undo that; none is fine."""
    if running(state):
        proc.output([*inside, proc.need("ip"), "address", "delete", f"{ADDRESS}/32", "dev", "lo"])
    end(state)


def end(state: Path) -> None:
    """End the program; none is fine."""
    proc.kill_recorded(files.read_json(state))
    for path in (state, state.with_suffix(".log")):
        path.unlink(missing_ok=True)


def running(state: Path) -> bool:
    """Whether it runs; found out, not remembered."""
    return proc.recorded(files.read_json(state)) is not None
