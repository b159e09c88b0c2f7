"""A program that we run and that downloads ──> ended when it moves next to nothing for too long.

apt, Go, pip and git have time-outs of their own for some of their waits, each others, and for some none.
What a program does is seen from outside: bytes that it reads and writes, and the time that it computes.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from tasks.base.patience import LEAST, LOOK, GivenUp, Patience

BUSY = 0.1  # of a processor; a program that computes is not waiting
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def watched(process: Popen[bytes], wait: Patience) -> Iterator[None]:
    """End the program, and raise GivenUp, when `wait` is over. Its session has to be its own."""
    over = threading.Event()
    ended: list[str] = []
    thread = threading.Thread(target=_watch, args=[process, wait, over, ended], daemon=True)
    with wait:
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
    if ended:
        raise GivenUp(ended[0])


def _watch(process: Popen[bytes], wait: Patience, over: threading.Event, ended: list[str]) -> None:
    before, at = _work(process.pid), time.monotonic()
    while not over.wait(LOOK):
        now, later = _work(process.pid), time.monotonic()
        # Processes that end take their numbers along: what is less than before says nothing.
        moved, computed = (max(0, new - old) for new, old in zip(now, before, strict=True))
        busy = computed / TICKS >= BUSY * (later - at)
        before, at = now, later
        try:
            wait.moved(int(LEAST * wait.seconds) if busy else moved)
        except GivenUp:
            ended.append(f"it waited for {wait.whom}, and next to nothing came in {wait.seconds:g} s")
            os.killpg(process.pid, signal.SIGKILL)
            return


def _work(session: int) -> tuple[int, int]:
    """Bytes that the processes of a session have read and written, and ticks that they have computed."""
    moved = ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) != session:
                continue
            lines = (folder / "io").read_text().splitlines()
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
        ticks += int(stat[11]) + int(stat[12])
        moved += sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))
    return moved, ticks
