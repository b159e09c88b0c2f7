"""The words on the control port, a serial line (the guest's hvc0) between a guest and whoever started it.

Each line is a word and what belongs to it. The guest's scripts (`/init` and `/etc/init.d/rcS` of the images)
say the same words in shell; a test compares them.

    guest                        launcher
    phase NAME                                      where its boot is
    hello VERSION                                   it is about to look at the overlays: a freeze point
                                 go                 it may
    overlay NAME EXITCODE                           an overlay was unpacked
    who                                             it asks who it is: the second freeze point
                                 NAME=VALUE ...     shell assignments, one a line
                                 end
    rc NAME EXITCODE                                a script of /etc/init.d has run
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

PHASE, HELLO, WHO, OVERLAY, RC = "phase", "hello", "who", "overlay", "rc"
FROM_GUEST = (PHASE, HELLO, OVERLAY, WHO, RC)
GO, END = "go", "end"
FROM_LAUNCHER = (GO, END)
START = "start"  # before the first phase that a guest tells
READY = "ready"  # the last phase: every script has run
VERSION = "2"  # of these words, as `hello` tells it
_FAILED_OVERLAY = re.compile(rf"^{OVERLAY} (\S+) ([1-9]\d*)".encode(), re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """One line of a guest."""

    word: str
    rest: str

    def __str__(self) -> str:
        return f"{self.word} {self.rest}".strip()

    @property
    def result(self) -> tuple[str, str]:
        """Of `overlay` and `rc`: the name and the exit code as it was written."""
        name, _, code = self.rest.rpartition(" ")
        return name, code


def parse(raw: bytes) -> Line:
    """What a line says; a line of other words has them in `word` all the same."""
    word, _, rest = raw.decode(errors="replace").strip().partition(" ")
    return Line(word, rest)


def line(word: str) -> bytes:
    """A word without more, as it is sent."""
    return f"{word}\n".encode()


def identity(values: Mapping[str, str]) -> bytes:
    """The launcher's whole answer: go on, then these shell variables, then the end."""
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    return line(GO) + assignments.encode() + line(END)


def failed_overlay(heard: bytes) -> tuple[str, int] | None:
    """The first overlay that could not be unpacked, and its exit code."""
    match = _FAILED_OVERLAY.search(heard)
    return (match[1].decode(), int(match[2])) if match else None
