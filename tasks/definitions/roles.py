"""What nodes are for: which numbers each role has, and how it is drawn."""

from typing import Literal

Role = Literal["vm", "router", "tester"]

ROLES: tuple[Role, ...] = ("vm", "router", "tester")
FIRST: dict[str, int] = {"vm": 1, "router": 201, "tester": 221}
MOST: dict[str, int] = {"vm": 200, "router": 20, "tester": 20}
RANGES = {role: (first, first + MOST[role] - 1) for role, first in FIRST.items()}  # first and last number
LAST = max(last for _, last in RANGES.values())
COLOUR: dict[str, str] = {"vm": "#c8f0c8", "router": "#f0c8c8", "tester": "#c8d8f0"}


def role_of(number: int) -> Role:
    """The role of a node number; ValueError for a number that has none."""
    for role in ROLES:
        if FIRST[role] <= number < FIRST[role] + MOST[role]:
            return role
    raise ValueError(f"{number} is no node number (1-200 nodes, 201-220 routers, 221-240 testers)")
