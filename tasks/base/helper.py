"""Programs of ours, and of others, that run beside a cluster: one way to start them.

A helper is recorded before it is waited for, so that whoever clears up finds it whatever happens meanwhile.
Its environment has a mark of what it belongs to, by which it is found even when its files are gone.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tasks.base import proc, records, signals
from tasks.base.errors import UserError
from tasks.base.records import Mark, Record

MARK = records.OWNER
PATIENCE = 10.0  # seconds for a helper to be ready
PAUSE = 0.002  # seconds between two looks
LINES = 3  # of its log, when it does not start

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Helper:
    """A program to be started."""

    failure: str  # what is told when it does not start: "the switch did not start"
    argv: proc.Argv
    state: Path  # where it is recorded
    log: Path
    owner: Path | None = None  # the directory of the cluster that it is for
    env: Mapping[str, str] = field(default_factory=dict)  # added to ours


def environment(owner: Path) -> dict[str, str]:
    """What the environment of every process of a cluster has, children of its processes too."""
    return {MARK: os.path.abspath(owner)}


def start(
    helper: Helper,
    ready: Callable[[int], bool],
    record: Callable[[Mark], R],
    *,
    patience: float = PATIENCE,
    undo: Callable[[], object] = lambda: None,
) -> R:
    """Start a program, record it, and wait until it is `ready` (which is given its pid).

    Raises UserError with the end of its log when it ends before that, or takes more than `patience` seconds.
    Then, and when we are interrupted, it is ended, its record is removed, and `undo` removes the rest.
    """
    process, mark = _begun(helper)
    try:
        entry = record(mark)
        records.write(helper.state, entry)
        until = time.monotonic() + patience
        while not ready(process.pid):
            if process.poll() is not None or time.monotonic() > until:
                raise UserError(f"{helper.failure}: {end_of(helper.log)}")
            time.sleep(PAUSE)
    except BaseException:
        _give_up(helper, process, mark)
        undo()
        raise
    return entry


@signals.whole
def _begun(helper: Helper) -> tuple[proc.Process, Mark]:
    env = {**helper.env, **(environment(helper.owner) if helper.owner else {})}
    process = proc.spawn(helper.argv, helper.log, env=env)
    return process, Mark.of(process.pid)


@signals.whole
def _give_up(helper: Helper, process: proc.Process, mark: Mark) -> None:
    if process.poll() is None:
        mark.end()
        process.wait()
    helper.state.unlink(missing_ok=True)


def end_of(log: Path) -> str:
    """The last lines that a program wrote, as one."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return "; ".join(lines[-LINES:]) or "it said nothing"
