"""Where we are: the workspace and the name of the cluster, found out without the model of all settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.base.errors import UserError
from tasks.project import plain_file
from tasks.project.command_line import Words

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
USUAL = "xcluster"  # as in the settings
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
LONGEST = 31


@dataclass(frozen=True)
class Place:
    """The workspace's directory, and the name of the cluster that a verb is for."""

    workspace: str
    cluster: str


def of(words: Words, environ: Mapping[str, str]) -> Place | None:
    """The place; None where xcluster.yaml has to be read as YAML, or something is wrong with the settings."""
    name = words.settings.get("name") or environ.get("XC_NAME") or environ.get("__name")
    if not name:
        file = plain_file.read(os.path.join(ROOT, "xcluster.yaml"))
        if file is None:
            return None
        name = file.get("name") or USUAL
    workspace = _workspace(environ)
    return Place(workspace, name) if _is_name(name) and os.path.isdir(workspace) else None


def _is_name(name: str) -> bool:
    allowed = LETTERS | frozenset("0123456789-")
    return 0 < len(name) <= LONGEST and name[0] in LETTERS and set(name) <= allowed


def refusal(error: OSError) -> UserError | None:
    """What is wrong with a file of the workspace, for an error that nobody else put in words.

    None for an error of another file: that is a mistake of ours.
    """
    folder = _workspace(os.environ)
    for name in (error.filename2, error.filename):
        path = os.path.abspath(os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) else ""
        if path.startswith(folder + "/"):
            return UserError(
                f"{path}: {error.strerror}",
                "it is not as it was left in the workspace; remove it, and run it again: it is made anew",
            )
    return None


def _workspace(environ: Mapping[str, str]) -> str:
    return os.path.abspath(environ.get("XCLUSTER_WORKSPACE") or os.path.join(ROOT, "workspace"))
