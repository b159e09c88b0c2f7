"""what is being done ──> a line each 30 s in which nothing else was told, for logs that nobody else writes to

On a terminal people see a bar, or the name of the step; without one, a long step looks like one that hangs.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

EVERY = 30.0  # seconds


class Reminder:
    """Tells of the innermost of the things that go on. `tell` writes a line."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._open: list[tuple[str, float]] = []
        self._heard = time.monotonic()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, what: str) -> None:
        """Something begins, inside of what goes on already."""
        with self._lock:
            self._open.append((what, time.monotonic()))
            self._heard = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def end(self, what: str) -> None:
        """It has ended, well or not."""
        with self._lock:
            self._open = [each for each in self._open if each[0] != what]
            self._heard = time.monotonic()

    def heard(self) -> None:
        """Something else was told just now."""
        self._heard = time.monotonic()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread
        while True:
            time.sleep(EVERY / 10)
            now = time.monotonic()
            with self._lock:
                what, since = self._open[-1] if self._open else ("", now)
                is_due = bool(what) and now - self._heard >= EVERY
            if is_due:
                self._tell(f"{what}: still at work, {now - since:.0f} s")
                self._heard = now
