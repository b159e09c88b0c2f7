"""A terminal with a shell in it, at which lines are typed one after the other."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.seeds.line import Line

MARK = re.compile(r"<<done (\d+) (\d+)>>\r?\n")
WAIT = 10  # seconds in which nothing comes, after which it is asked again
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Shell:
    """A shell at a terminal of its own; what it starts there (`vm 1`, `xc nsenter 1`) is typed to as well."""

    def __init__(
        self, place: Path, environment: Mapping[str, str], command: tuple[str, ...] = ("bash",)
    ) -> None:
        self._master, slave = pty.openpty()
        plain = ("--norc", "--noprofile", "--noediting", "-i") if command == ("bash",) else ()
        self._process = subprocess.Popen(
            [*command, *plain], stdin=slave, stdout=slave, stderr=slave, cwd=place, start_new_session=True,
            env={**environment, "PS1": "", "PS2": "", "PROMPT_COMMAND": "", "TERM": "dumb"},
        )  # fmt: skip
        os.close(slave)
        self._read = ""
        self._count = 0  # of the questions; a late answer to an earlier one is none to this one
        self.typed("stty -echo cols 200")

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGHUP)
        os.close(self._master)
        self._process.wait(30)

    def typed(self, text: str, seconds: float = 60) -> tuple[int, str]:
        """Type a line: its exit status, and what it has printed on either stream."""
        question = self._question()
        self.send(f"{text}\n{question}")
        end = time.monotonic() + seconds
        while not (mark := self._answer(self._count)):
            if time.monotonic() > end:
                raise TimeoutError(f"`{text}` goes on after {seconds} s:\n{self._read}")
            if select.select([self._master], [], [], WAIT)[0]:
                self._read += self._more()
            else:  # a program that reads what is typed (ssh) has taken the question
                self.send(question)
        printed, self._read = MARK.split(self._read[: mark.start()])[-1], self._read[mark.end() :]
        return int(mark[2]), ESCAPES.sub("", printed).replace("\r\n", "\n")

    def _question(self) -> str:
        """A line after which the shell says with what the last one ended.

        What is shown of a typed line differs from what it prints, where the terminal shows it.
        """
        self._count += 1
        return f"printf '<<%s {self._count} %d>>\\n' done $?\n"

    def _answer(self, first: int) -> re.Match[str] | None:
        """The first answer to the question `first`, or to a later one."""
        return next((each for each in MARK.finditer(self._read) if int(each[1]) >= first), None)

    def send(self, text: str) -> None:
        """Type without waiting for anything."""
        os.write(self._master, text.encode())

    def moved(self, text: str, seconds: float = 120) -> None:
        """Type what gives the terminal to another shell (`vm 1`, `exit`), and wait until that answers.

        What is typed before it is there may be lost, so it is asked until it answers.
        """
        self.send(f"{text}\n")
        first, end = self._count + 1, time.monotonic() + seconds
        while not self._answer(first):
            assert time.monotonic() < end, f"no shell after `{text}`:\n{self._read}"
            self.send(self._question())
            self._until_quiet(2)
        self.typed("stty -echo; PS1=")  # a prompt would stand before what the next line prints

    def answers(self, line: Line, seconds: float = 60) -> str:
        """Type a line of the documents; it has to do what its row says. What it has printed."""
        status, output = self.typed(line.typed, seconds)
        assert not (fault := line.fault(status, output)), fault
        return output

    def _until_quiet(self, seconds: float) -> None:
        """Read until nothing has come for so long."""
        while select.select([self._master], [], [], seconds)[0]:
            self._read += self._more()

    def _more(self) -> str:
        try:
            return os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # the shell has ended
            raise EOFError(f"the shell has ended:\n{self._read}") from None


def settled(shell: Shell, name: str = "Envsettings") -> None:
    """Source the settings, as the documents do first."""
    status, output = shell.typed(f". ./{name}")
    assert status == 0, output
