"""A verb's first word that names what it does, with the words and the options that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.base.errors import UsageError, unknown
from tasks.project.command_line import COMMON, Words, dashes


@dataclass(frozen=True, eq=False, repr=False)
class Action:
    """One of the things a verb does, named by its first word."""

    least: int = 0  # how many words at least
    most: int | None = 0  # and at most; None: any number
    options: tuple[str, ...] = ()  # those of the verb that it takes


def action(words: Words, actions: Mapping[str, Action], default: str = "") -> tuple[str, list[str]]:
    """The action that the verb's first word names, and its own words. UsageError for what makes no sense."""
    name, *rest = words.args or (default,)
    if name not in actions:
        raise UsageError(unknown("action", name, actions), words.usage)
    shape = actions[name]
    if not shape.least <= len(rest) <= (len(rest) if shape.most is None else shape.most):
        problem = f"'{words.verb} {name}' takes other arguments than: {' '.join(rest) or 'none'}"
        raise UsageError(problem, words.usage)
    for option in words.options:
        if option not in {*shape.options, *(each.name for each in COMMON)}:
            raise UsageError(f"{dashes(option)} cannot be used with '{words.verb} {name}'", words.usage)
    return name, rest
