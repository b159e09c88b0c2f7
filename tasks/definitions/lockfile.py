"""xcluster.lock: what each input was when it was pinned. If the file is there, builds compare with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.base import files
from tasks.base.errors import UserError

FILE = "xcluster.lock"
KINDS = ("artifacts", "images", "packages")
Pin = Mapping[str, str]  # facts of one input: url, version, sha256, h1


class Mismatch(UserError):
    """An input is not what was pinned. Trying another source would not help."""


def read(path: Path | None) -> dict[str, dict[str, Any]]:
    """All pins by kind and name; packages by suite and name. Raises UserError for a damaged file."""
    if path is None or not path.is_file():
        return {kind: {} for kind in KINDS}
    pins = files.read_json(path)
    if set(pins) - set(KINDS) or not pins or not all(isinstance(value, dict) for value in pins.values()):
        raise UserError(
            f"{path} is damaged",
            "restore the last good one from git, or remove the file and run `xc lock` again",
        )
    return {kind: pins.get(kind, {}) for kind in KINDS}


def of(path: Path | None, kind: str, name: str) -> Pin:
    """The facts that are pinned for one input; empty when it is not pinned."""
    pins = read(path)[kind].get(name, {})
    return {str(key): str(value) for key, value in pins.items()}


def packages(path: Path | None, suite: str) -> Mapping[str, Pin]:
    """The pinned packages of a suite."""
    facts: Mapping[str, Pin] = read(path)["packages"].get(suite, {})
    return facts


def differences(pinned: Pin, actual: Pin) -> list[str]:
    """One line for each fact that both have with different values; the line shows both values."""
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
            f"{what} '{name}' is not what {FILE} says:\n{text}",
            f"if you want the new one: xc lock --update {name}",
        )
