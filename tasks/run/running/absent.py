"""The name of a cluster that does not run -> the sentence for it, with the nearest name of one that does."""

from __future__ import annotations

import os

from tasks.base.errors import UserError, meant


def sentence(run: str, name: str) -> str:
    """`run` is the directory of running clusters."""
    there = (
        [each for each in os.listdir(run) if each[0] != "." and each != name] if os.path.isdir(run) else []
    )
    return f"cluster '{name}' is not running{meant(name, there) if there else ''}"


def error(run: str | os.PathLike[str], name: str, start: str = "xc start") -> UserError:
    """The same as an error, with how to start it."""
    own = f" --name={name}" if name != "xcluster" else ""
    return UserError(sentence(os.fspath(run), name), f"start it: {start}{own}")
