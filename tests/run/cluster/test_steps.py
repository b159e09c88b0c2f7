"""Steps: done in order, shown on a terminal, undone in reverse."""

import io
import sys

import pytest

from tasks.base import progress
from tasks.base.errors import UserError
from tasks.run.cluster.steps import StartStep, carry_out


def recording(
    name: str, fails: BaseException | None = None, undo: BaseException | None = None
) -> StartStep[list[str]]:
    """A step that notes what is done; with what it raises."""

    def act(words: str, error: BaseException | None) -> None:
        events.append(words)
        if error:
            raise error

    events: list[str] = []

    def do(work: list[str]) -> None:
        nonlocal events
        events = work
        act(name, fails)

    return StartStep(name, do, lambda _: act(f"not {name}", undo))


def test_in_order() -> None:
    work: list[str] = []
    carry_out([recording("a"), recording("b"), StartStep("c", lambda work: work.append("c"))], work)
    assert work == ["a", "b", "c"]


@pytest.mark.parametrize("error", [UserError("no"), KeyboardInterrupt(), ValueError()])
def test_undone_in_reverse_with_the_one_that_failed(error: BaseException) -> None:
    work: list[str] = []
    steps = [
        recording("a"),
        StartStep("b", lambda work: work.append("b")),
        recording("c", error),
        recording("d"),
    ]
    with pytest.raises(type(error)) as caught:
        carry_out(steps, work)
    assert caught.value is error
    assert work == ["a", "b", "c", "not c", "not a"]


def test_kept_as_it_is() -> None:
    work: list[str] = []
    with pytest.raises(UserError):
        carry_out([recording("a"), recording("b", UserError("no"))], work, keep=True)
    assert work == ["a", "b"]


def test_what_cannot_be_undone_is_told_and_keeps_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    work: list[str] = []
    steps = [recording("a"), recording("b", undo=UserError("b stays")), recording("c", UserError("no"))]
    with pytest.raises(UserError, match="^no$"):
        carry_out(steps, work)
    assert work == ["a", "b", "c", "not c", "not b", "not a"]
    assert capsys.readouterr().err == "warning: b: not all could be undone: b stays\n"


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_each_is_shown_on_a_terminal_and_nothing_of_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    carry_out([StartStep("one", lambda _: None), StartStep("two", lambda _: progress.say("a line"))], None)
    clear = progress.CLEAR
    assert screen.getvalue() == f"{clear}one ...{clear}{clear}two ...{clear}a line\n"


def test_nothing_is_shown_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    carry_out([StartStep("one", lambda _: None)], None)
    assert capsys.readouterr() == ("", "")
