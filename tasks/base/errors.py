"""Errors that a user can do something about: each says what failed and what to do next."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake, or a condition that the user can change. It is shown without a traceback.

    `hint` is the next step; it is shown on a line of its own. The process ends with `exit_code`.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  hint: {self.hint}" if self.hint else message


class UsageError(UserError):
    """Wrong words on the command line: exit code 2."""

    exit_code = 2


class DefinitionError(UserError):
    """All that is wrong in YAML definitions and settings, one problem a line: exit code 2."""

    exit_code = 2

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("invalid definitions:\n" + "\n".join(f"  {line}" for line in self.problems))


class CommandError(UserError):
    """A program we ran failed: the quoted command, its exit code and its last lines."""


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """One sentence for a name that does not exist: it lists the valid names and proposes the nearest one."""
    choices = sorted(choices)
    near = get_close_matches(name, choices, n=1)
    meant = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {kind} '{name}' (known: {', '.join(choices) or 'none'}).{meant}"
