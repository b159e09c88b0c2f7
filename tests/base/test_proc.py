"""Programs are waited for, and not what they left running."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.base.errors import CommandError


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    """A line for a shell that leaves a process behind; it is ended after the test."""
    record = tmp_path / "pid"
    yield f'sleep 60 & echo $! >"{record}"'
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int(record.read_text()), signal.SIGKILL)


def by_run(script: str) -> str:
    return proc.run(["sh", "-c", script])


def by_output(script: str) -> str:
    return proc.output(["sh", "-c", script]).decode().removesuffix("\n")


@pytest.mark.parametrize("way", [by_run, by_output])
def test_a_daemon_is_left_alone(daemon: str, way: Callable[[str], str]) -> None:
    began = time.monotonic()
    assert way(f"echo one; {daemon}; echo two; seq 5000") == "\n".join(
        ["one", "two", *map(str, range(1, 5001))]
    )
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("way", [by_run, by_output])
def test_a_failure_with_a_daemon(daemon: str, way: Callable[[str], str]) -> None:
    with pytest.raises(CommandError, match="(?s)exit code 3.*reason"):
        way(f"{daemon}; echo reason >&2; exit 3")


def test_lines_come_while_the_program_runs(tmp_path: Path) -> None:
    """The program waits for what is done when its first line has come."""
    heard: list[str] = []

    def hear(line: str) -> None:
        heard.append(line)
        (tmp_path / "go").touch()

    proc.run(
        ["sh", "-c", f"echo first; until [ -e {tmp_path}/go ]; do sleep 0.05; done; printf last"],
        on_line=hear,
    )
    assert heard == ["first", "last"]


def test_a_program_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    proc.run(["sh", "-c", f"exec >&- 2>&-; sleep 0.5; touch {tmp_path}/done"])
    assert (tmp_path / "done").exists()


def test_much_output_and_no_newline_at_the_end() -> None:
    assert proc.run(["sh", "-c", "seq 100000; printf end"]).splitlines()[-2:] == ["100000", "end"]
    assert len(proc.output(["head", "-c", "3000000", "/dev/zero"])) == 3000000
