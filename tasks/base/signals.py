"""HUP, INT, TERM, QUIT ──> `Ended`, raised in the main thread: what is half-made is undone, and the run ends

The only place that handles signals. A signal ends the run with one line and exit code 128+n, whatever the
verb is at. It is not raised within a function that is `whole`, nor while a context manager of contextlib is
entered or left, but a moment after that: so nothing is lost between its beginning and the code that would
undo it. A second signal changes nothing: the end is under way. Signals that our caller ignores (nohup, a job
in the background) stay ignored.
"""

from __future__ import annotations

import atexit
import signal
import sys
from collections.abc import Callable, Coroutine
from types import CodeType, FrameType, FunctionType

# mypy knows this name; at run time `typing` would cost every verb a few milliseconds.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])
    T = TypeVar("T")

TEXTS = {
    signal.SIGHUP: "ended by SIGHUP",
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "ended by SIGTERM",
    signal.SIGQUIT: "ended by SIGQUIT",
}
# By name: few verbs need contextlib. While a module is loaded, and from the last two, Python or an extension
# lets no exception pass as it is: one becomes a RuntimeError, another is lost, or Rust panics.
WHOLE = (
    "_GeneratorContextManager.__enter__",
    "_GeneratorContextManager.__exit__",
    "_find_and_load",
    "__del__",
    "__set_name__",
)
AGAIN = 0.01  # seconds until the next look whether the function that is whole has ended


class Ended(SystemExit):
    """The run was told to end. As a SystemExit it passes asyncio and doit, and never shows a traceback."""


class _State:
    """What came, and how far the end is."""

    number: int | None = None  # of the signal that came first
    raised = False
    cancel: Callable[[], object] | None = None  # ends the event loop that the main thread is in


_state = _State()
_whole: set[CodeType] = set()
_waiting: set[CodeType] = set()
_before_end: list[Callable[[], object]] = []
_tell: list[Callable[[str], object]] = []


def whole(function: F) -> F:
    """The function is not left by a signal before its end. It has to be short, or to end by itself."""
    _whole.add(_code(function))
    return function


def waiting(function: F) -> F:
    """The function may be left by a signal at any time, also when what calls it is whole."""
    _waiting.add(_code(function))
    return function


def waiting_here() -> None:
    """As `waiting`, for the caller: a function, or a module that does more than define things."""
    _waiting.add(sys._getframe(1).f_code)


def before_end(callback: Callable[[], object]) -> None:
    """Call this when a signal is going to be raised, in the main thread: to end what that would wait for."""
    _before_end.append(callback)


def check() -> None:
    """Raise Ended in another thread than the main one when the run is ending: it shall begin nothing new."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        _raise_if_due()


def install(tell: Callable[[str], object]) -> None:
    """Handle the signals from now on, in the main thread. `tell` gets the line that is shown at the end."""
    if not _tell:
        atexit.register(_last_words)
    _tell[:] = [tell]
    sys.unraisablehook = _not_lost
    signal.signal(signal.SIGALRM, _handle)
    for sign in TEXTS:
        if signal.getsignal(sign) != signal.SIG_IGN:
            signal.signal(sign, _handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TEXTS)  # `xc` blocks them while Python is being loaded


def number() -> int | None:
    """The signal that the run was told to end by; None if there was none."""
    return _state.number


def accept() -> None:
    """A signal is how what the verb did ends in the ordinary way: it is forgotten."""
    _state.number, _state.raised = None, False


def ending(main: Callable[[], int]) -> int:
    """Call `main`, which returns an exit code; ours, in which a signal counts more, whatever became of it."""
    try:
        code = main()
    except BaseException:
        if _state.number is None:
            raise
        code = 1
    return finished(code)


def finished(code: int) -> int:
    """The exit code of a run that ended with `code`; a signal that comes now is too late to change it."""
    for sign in (*TEXTS, signal.SIGALRM):
        if callable(signal.getsignal(sign)):
            signal.signal(sign, signal.SIG_IGN)
    return code if _state.number is None else 128 + _state.number


def run(main: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run; in the main thread a signal cancels `main`, which can then undo what it has begun."""
    import asyncio
    import threading

    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(main)

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task

        def cancel() -> None:
            loop.set_exception_handler(lambda *_: None)  # of what else was waited for nobody needs to hear
            loop.call_soon_threadsafe(task.cancel)

        _state.cancel = cancel
        try:
            return await main
        finally:
            _state.cancel = None

    whole(asyncio.run)
    try:
        result = asyncio.run(cancellable())
    except asyncio.CancelledError:
        _raise_if_due()
        raise
    _raise_if_due()
    return result


def _raise_if_due() -> None:
    if _state.raised and _state.number is not None:
        raise Ended(128 + _state.number)


def _code(function: Callable[..., object]) -> CodeType:
    inner = getattr(function, "__wrapped__", function)
    assert isinstance(inner, FunctionType)
    return inner.__code__


def _handle(sign: int, frame: FrameType | None) -> None:
    if _state.number is None and sign != signal.SIGALRM:
        _state.number = sign
    if _state.number is None or _state.raised:
        return
    if _state.cancel is None and _is_whole(frame):
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        return
    _state.raised = True
    for callback in _before_end:
        callback()
    if _state.cancel is None:
        raise Ended(128 + _state.number)
    _state.cancel()


def _is_whole(frame: FrameType | None) -> bool:
    """Whether the innermost function that is marked is whole."""
    while frame is not None:
        if frame.f_code in _waiting:
            return False
        code = frame.f_code
        if code in _whole or code.co_qualname in WHOLE or code.co_name in WHOLE:
            return True
        frame = frame.f_back
    return False


def _not_lost(unraisable: sys.UnraisableHookArgs) -> None:
    """Raised where nobody can catch it, as in __del__, it is raised again a moment later."""
    if isinstance(unraisable.exc_value, Ended):
        _state.raised = False
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
    else:
        sys.__unraisablehook__(unraisable)


def _last_words() -> None:
    finished(0)
    if _state.number is not None:
        for tell in _tell:
            tell(TEXTS[signal.Signals(_state.number)])
