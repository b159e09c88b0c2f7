"""What a node is called: its hostname, which is also the name of its files, and the way back to its number.

It is here, below definitions, because paths need it.
"""

import re

_WORD = re.compile(r"(?:vm-)?([0-9]{1,9})")
_NAME = re.compile(r"vm-([0-9]{3,9})")


def node_name(number: int) -> str:
    """The hostname of node `number`."""
    return f"vm-{number:03d}"


def number_of(word: str) -> int:
    """The number in `3`, `003` or `vm-003`. Raises ValueError for any other word."""
    match = _WORD.fullmatch(word)
    if match is None:
        raise ValueError(f"'{word}' is no node: give its number")
    return int(match[1])


def number_in(name: str) -> int | None:
    """The number of the node that is called exactly `name`; None for any other name, as of a file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match and node_name(int(match[1])) == name else None
