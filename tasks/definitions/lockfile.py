"""xcluster.lock: what each input was when it was pinned. Builds compare with it where it is there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.base import files
from tasks.base.errors import UserError

FILE = "xcluster.lock"
KINDS = ("artifacts", "images", "packages")
Pin = Mapping[str, str]  # facts of one input: url, version, sha256, h1


class Mismatch(UserError):
    """An input is not what was pinned: no other source makes up for that."""


def read(path: Path | None) -> dict[str, dict[str, Any]]:
    """All pins by kind and name; packages by suite and name. Raises UserError for a damaged file."""
    if path is None or not path.is_file():
        return {kind: {} for kind in KINDS}
    found = files.read_json(path)
    if set(found) - set(KINDS) or not found or not all(isinstance(value, dict) for value in found.values()):
        raise UserError(
            f"{path} is damaged", "take the last good one from git, or remove it and run `xc lock` again"
        )
    return {kind: found.get(kind, {}) for kind in KINDS}


def of(path: Path | None, kind: str, name: str) -> Pin:
    """The facts pinned for one input; empty when nothing is."""
    found = read(path)[kind].get(name, {})
    return {str(key): str(value) for key, value in found.items()}


def packages(path: Path | None, suite: str) -> Mapping[str, Pin]:
    """The packages of a suite."""
    found: Mapping[str, Pin] = read(path)["packages"].get(suite, {})
    return found


def differences(pinned: Pin, actual: Pin) -> list[str]:
    """What both say, and differently: one line for each value, both shown."""
    return [
        f"{key}: locked {pinned[key]}, now {actual[key]}"
        for key in sorted(set(pinned) & set(actual))
        if pinned[key] != actual[key]
    ]


def compare(what: str, name: str, pinned: Pin, actual: Pin) -> None:
    """Raise UserError when an input is not what was pinned."""
    lines = differences(pinned, actual)
    if lines:
        text = "\n".join(f"  {line}" for line in lines)
        raise Mismatch(
            f"{what} '{name}' is not what {FILE} says:\n{text}", f"if that is right: xc lock --update {name}"
        )
