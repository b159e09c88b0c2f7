"""A piece of work as a list of steps, each with a name that is shown, undone in reverse when one fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tasks.base import progress, signals
from tasks.base.errors import UserError

Work = TypeVar("Work")


@dataclass(frozen=True)
class StartStep(Generic[Work]):
    """One step. `undo` removes what it made, whether it came to its end or not."""

    name: str
    do: Callable[[Work], None]
    undo: Callable[[Work], None] | None = None


def carry_out(steps: Sequence[StartStep[Work]], work: Work, *, keep: bool = False) -> None:
    """Do the steps in order. If one raises, undo all begun steps in reverse order, and raise the same again.

    With `keep` nothing is undone, so that one can look at what is there.
    """
    begun: list[StartStep[Work]] = []
    try:
        for step in steps:
            begun.append(step)
            with progress.Step(step.name):
                step.do(work)
    except BaseException:
        if not keep:
            _undo_all(begun, work)
        raise


@signals.whole
def _undo_all(steps: Sequence[StartStep[Work]], work: Work) -> None:
    for step in reversed(steps):
        _undo(step, work)


def _undo(step: StartStep[Work], work: Work) -> None:
    """Undo a step. If that fails, print a warning, so that the other steps are still undone."""
    try:
        if step.undo:
            step.undo(work)
    except UserError as error:
        progress.say(f"warning: {step.name}: not all could be undone: {error}")
