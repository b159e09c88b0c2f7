"""Name and version of this project; in a checkout, the commit too."""

from __future__ import annotations

import os
import sys

from tasks.base import output
from tasks.project.command_line import Words

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
NAME = "xcluster-doit"


def version() -> str:
    """The version in pyproject.toml; of an installed package, the one it was installed with."""
    try:
        with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
            lines = [line.partition("=") for line in file]
    except OSError:
        from importlib import metadata

        return metadata.version(NAME)
    return next(value.strip().strip('"') for key, _, value in lines if key.strip() == "version")


def commit() -> str | None:
    """The commit of a checkout, with + when files differ from it; None where there is no git."""
    from tasks.base import proc
    from tasks.base.errors import UserError

    if not os.path.exists(os.path.join(ROOT, ".git")):
        return None
    try:
        # A checkout that somebody packed may name a program in .git/config that git would run.
        git = ["git", "-c", "core.fsmonitor=false", "-C", ROOT]
        words = ["describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        text = proc.output([*git, *words], env={"GIT_OPTIONAL_LOCKS": "0"})
    except UserError:  # there is no git, or it does not trust the checkout
        return None
    return text.decode().strip() or None


def line() -> str:
    """What `xc --version` prints."""
    of_checkout = commit()
    return f"{NAME} {version()}{f' ({of_checkout})' if of_checkout else ''}\n"


def tell(words: Words) -> None:
    """Do the verb `version`."""
    if words.json:
        output.as_json({"name": NAME, "version": version(), "commit": commit()})
    else:
        sys.stdout.write(line())
