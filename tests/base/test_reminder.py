"""A long step is told now and then, where no terminal shows that it goes on."""

import os
import pty
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# 30 seconds are long for a test: here the interval is a tenth of a second.
LONG = """
import sys, time
from tasks.base import progress, reminder
reminder.EVERY = 0.1
progress.configure(dict(word.split("=") for word in sys.argv[1:]))
progress.begin("artifact:x", "Get x")
time.sleep(0.5)
with progress.Step("inner"):
    time.sleep(0.5)
progress.done("artifact:x", 1.0)
time.sleep(0.5)
"""


def told(*words: str, stderr: int = subprocess.PIPE) -> list[str]:
    """What a long task says on stderr."""
    argv = [sys.executable, "-c", LONG, *words]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True)
    return (done.stderr or "").splitlines()


def test_a_long_task_is_told_while_it_lasts() -> None:
    lines = told()
    assert lines[0].split() == ["artifact:x", "Get", "x"] and "artifact:x: still at work, 0 s" in lines
    assert [line for line in lines if line.startswith("inner: still at work")]
    assert lines[-1] == "artifact:x               done in 1.0 s"


@pytest.mark.parametrize("words", [("quiet=yes",), ("progress=json",)])
def test_nobody_is_reminded_who_does_not_want_it(words: tuple[str, ...]) -> None:
    assert not [line for line in told(*words) if "still" in line]


def test_a_terminal_shows_it_otherwise() -> None:
    ours, theirs = pty.openpty()
    told(stderr=theirs)
    os.close(theirs)
    assert b"still" not in os.read(ours, 4096)
    os.close(ours)
