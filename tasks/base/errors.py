"""Errors that a user can do something about: each says what failed and what to do next."""

from __future__ import annotations

from collections.abc import Iterable

FEW = 20  # names that a message may list


class UserError(Exception):
    """A mistake, or a condition that the user can change. It is shown without a traceback.

    `hint` is the next step; it is shown on a line of its own. The process ends with `exit_code`.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(UserError):
    """Wrong words on the command line: exit code 2."""

    exit_code = 2


class DefinitionError(UserError):
    """All that is wrong in YAML definitions and settings, one problem a line: exit code 2."""

    exit_code = 2

    def __init__(self, problems: Iterable[str], hint: str | None = None) -> None:
        self.problems = sorted(set(problems))
        lines = "\n".join(f"  {line}" for line in self.problems)
        super().__init__(f"invalid definitions or settings:\n{lines}", hint)


class CommandError(UserError):
    """A program we ran failed: the quoted command, its exit code and its last lines."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """One sentence for a name that does not exist: the names if they are few, and the three nearest."""
    names = sorted(set(choices))
    near = nearest(name, names)
    listed = f" (known: {', '.join(names) or 'none'})" if len(names) <= FEW else ""
    if not near and not listed:
        return f"unknown {kind} '{name}': none of the {len(names)} that there are is like it."
    quoted = [f"'{each}'" for each in near]
    last = f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(near) > 1 else "".join(quoted)
    return f"unknown {kind} '{name}'{listed}." + (f" Did you mean {last}?" if near else "")


def meant(name: str, names: Iterable[str]) -> str:
    """What is added to a sentence about a name that does not exist; "" if none of the others is like it."""
    near = nearest(name, names)
    return f"; did you mean '{near[0]}'?" if near else ""


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """The at most three of `names` that are most like `name`, the nearest first."""
    from difflib import get_close_matches

    return get_close_matches(name, names, n=3)
