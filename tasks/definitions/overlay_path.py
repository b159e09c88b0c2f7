"""XCLUSTER_OVLPATH ──> the directories of overlays, and what is wrong with them

Upstream takes a relative one from the current directory, and so do we; scripts that run elsewhere get the
absolute path. Nothing large is imported here: scripts ask for overlays many times.
"""

import os
from collections.abc import Iterator, Mapping, MutableMapping

VARIABLE = "XCLUSTER_OVLPATH"
MARKS = ("ovl.yaml", "tar", "default")  # what makes an overlay of a directory


def folders(value: str) -> list[str]:
    """The directories in the order of search, as absolute paths."""
    return [os.path.abspath(part) for part in value.split(":") if part]


def make_absolute(environ: MutableMapping[str, str]) -> None:
    """Write the variable so that it means the same in every directory."""
    if environ.get(VARIABLE):
        environ[VARIABLE] = ":".join(folders(environ[VARIABLE]))


def faults(environ: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each directory in which no overlay can be found."""
    for folder in folders(environ.get(VARIABLE, "")):
        if not os.path.isdir(folder):
            there = os.path.lexists(folder)
            yield f"{VARIABLE}: {f'{folder} is no directory' if there else f'there is no directory {folder}'}"
        elif not os.access(folder, os.R_OK | os.X_OK):
            yield f"{VARIABLE}: {folder} cannot be read: you have no permission"
        elif any(os.path.exists(os.path.join(folder, mark)) for mark in MARKS):
            above = os.path.dirname(folder)
            yield f"{VARIABLE}: {folder} is an overlay itself; the directory of overlays is {above}"
