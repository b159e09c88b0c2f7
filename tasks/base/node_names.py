"""What a node is called: its hostname, which is also the name of its files, and the way back to its number.

It is here, below definitions, because paths need it. It imports nothing, because verbs that answer at once
need it too.
"""

LONGEST = 9  # digits


def node_name(number: int) -> str:
    """The hostname of node `number`."""
    return f"vm-{number:03d}"


def number_of(word: str) -> int:
    """The number in `3`, `003` or `vm-003`. Raises ValueError for any other word."""
    digits = word.removeprefix("vm-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= LONGEST):
        raise ValueError(f"'{word}' is not the number of a node")
    return int(digits)


def number_in(name: str) -> int | None:
    """The number of the node that is called exactly `name`; None for any other name, as of a file."""
    digits = name[3:]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= LONGEST):
        return None
    return int(digits) if node_name(int(digits)) == name else None
