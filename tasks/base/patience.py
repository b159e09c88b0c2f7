"""How long we wait for servers: the user is told after 3 s, and it ends where next to nothing comes.

One rule holds for every download, also for those of programs that we run: what brings less than `LEAST`
bytes a second for so many seconds is given up, whether a server is silent, busy or slow.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from tasks.base import progress

T = TypeVar("T")
SECONDS = 60.0  # where nothing else is set
LEAST = 1024  # bytes a second
QUIET = 3.0  # seconds without a word
LOOK = 0.5  # seconds between two looks
REPEAT = 10.0  # seconds between two lines about the same wait
LATER = (
    "run it again later; download_timeout in xcluster.yaml (or __download_timeout=SECONDS) sets "
    "how long it waits"
)


class GivenUp(Exception):
    """The time is over. The text says what did not come."""


class Patience:
    """The wait for one file or one answer; a line tells about it while it lasts.

    `whom` is the server and `seconds` the bound. `moved` reports what comes, `state` sets what is waited for.
    """

    def __init__(self, whom: str, seconds: float = SECONDS) -> None:
        self.whom, self.seconds = whom, seconds
        self.total = 0  # bytes that came
        self._window, self._in_window = time.monotonic(), 0
        self._state: Callable[[], str] = lambda: "waiting for an answer"
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._window = time.monotonic()
        threading.Thread(target=self._tell, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._over.set()

    def state(self, text: str | Callable[[], str]) -> None:
        """What is waited for now; a function gives it at the time when it is shown."""
        self._state = text if callable(text) else lambda: text

    def moved(self, amount: int) -> None:
        """So many bytes came. Raises GivenUp when they are too few for the time."""
        self.total += amount
        self._in_window += amount
        if self._in_window >= LEAST * self.seconds:
            self._window, self._in_window = time.monotonic(), 0
        elif self.left <= 0:
            raise GivenUp(f"only {progress.amount(self._in_window)} came in {self.seconds:g} s")

    @property
    def left(self) -> float:
        """Seconds until it is given up."""
        return self._window + self.seconds - time.monotonic()

    def sleep(self, seconds: float, why: str) -> None:
        """Pause before the next try. Raises GivenUp where that would be too late."""
        if seconds >= self.left:
            raise GivenUp(why)
        end = time.monotonic() + seconds
        self.state(lambda: f"{why} in {max(0.0, end - time.monotonic()):.0f} s")
        time.sleep(seconds)

    def answer(self, work: Callable[[], T]) -> T:
        """What `work` gives, which blocks where nobody can interrupt it: in the system's resolver, in a
        handshake, in headers that never end. Raises GivenUp when the time is over; its late result is lost.
        """
        from concurrent.futures import Future  # few verbs need it

        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(work())
            except Exception as error:  # noqa: BLE001  it is raised where the result is waited for
                result.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        try:
            return result.result(max(0.0, self.left))
        except TimeoutError:
            if result.done():
                raise
            raise GivenUp(f"the server does not answer; given up after {self.seconds:g} s") from None

    def _tell(self) -> None:
        """Say what is waited for, as long as it is a wait and no download that moves."""
        before, idle, next_line = self.total, time.monotonic(), 0.0
        while not self._over.wait(LOOK):
            now = time.monotonic()
            if self.total - before >= LEAST * LOOK:
                idle = now
            before = self.total
            if now - idle >= QUIET and now >= next_line:
                progress.waiting(self.whom, self._state(), round(max(0.0, self.left), 1))
                next_line = now + REPEAT
