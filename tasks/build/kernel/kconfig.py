"""Kernel configuration fragments: read, merged, and checked against what became of them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tasks.base.errors import UserError

_SET = re.compile(r"^(CONFIG_[A-Za-z0-9_]+)=(.*)$")
_UNSET = re.compile(r"^# (CONFIG_[A-Za-z0-9_]+) is not set$")


def read(path: Path) -> dict[str, str]:
    """The symbols of a fragment or a .config with their values; `n` for one that is not set.

    Raises UserError for a line that is neither, nor a comment.
    """
    symbols = {}
    for number, raw in enumerate(path.read_text().splitlines(), start=1):
        line = raw.strip()
        assigned, unset = _SET.match(line), _UNSET.match(line)
        if assigned:
            symbols[assigned.group(1)] = assigned.group(2)
        elif unset:
            symbols[unset.group(1)] = "n"
        elif line and not line.startswith("#"):
            raise UserError(f"{path}:{number}: neither CONFIG_NAME=value nor a comment: '{line}'")
    return symbols


def merge(fragments: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """All symbols asked for. y wins over m, and both over n; other values must not differ."""
    rank = {"n": 0, "m": 1, "y": 2}
    merged: dict[str, str] = {}
    origin: dict[str, str] = {}
    for name, symbols in fragments.items():
        for symbol, value in symbols.items():
            old = merged.get(symbol, value)
            if old != value and not (old in rank and value in rank):
                raise UserError(f"{symbol} is {old} in fragment {origin[symbol]} and {value} in {name}")
            if symbol not in merged or rank.get(value, 3) > rank.get(old, 3):
                merged[symbol], origin[symbol] = value, name
    return merged


def text(symbols: Mapping[str, str]) -> str:
    """Symbols as a file for KCONFIG_ALLCONFIG."""
    return "".join(
        f"# {symbol} is not set\n" if value == "n" else f"{symbol}={value}\n"
        for symbol, value in sorted(symbols.items())
    )


def lost(fragments: Mapping[str, Mapping[str, str]], result: Mapping[str, str]) -> list[str]:
    """One line for each symbol that did not get what was asked for; a module built in counts as had."""
    request = merge(fragments)
    lines = []
    for name, symbols in fragments.items():
        for symbol, value in symbols.items():
            got = result.get(symbol, "n")
            if value == request[symbol] and got != value and (value, got) != ("m", "y"):
                lines.append(f"fragment {name}: {symbol}={value} was asked for, the kernel has {got}")
    return sorted(lines)


def check(fragments: Mapping[str, Mapping[str, str]], config: Path) -> None:
    """Raise UserError that names every symbol the kernel's own rules took away."""
    missing = lost(fragments, read(config))
    if missing:
        raise UserError(
            "the kernel's configuration does not keep what the fragments ask for:\n"
            + "\n".join(f"  {line}" for line in missing),
            "a symbol is lost when something that it depends on is not set: "
            "run `xc menuconfig KERNEL` and search for the symbol with /",
        )


def load(folder: Path, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The fragments of a kernel, by name, in order."""
    return {name: read(folder / f"{name}.config") for name in names}
