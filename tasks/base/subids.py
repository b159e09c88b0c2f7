"""This process ──> the user id of the host that root of a container is

Root gives its containers ids that nobody has: so root of a node is nobody to the host's files, /proc and
/sys. Everybody else has their own id.
"""

import os
from pathlib import Path

BASE, COUNT = 0x70000000, 0x10000  # above the ids that other programs give to containers
SYS_ADMIN = 21  # capabilities(7)


def first() -> int:
    """The id of the host's that is root in a container; what belongs to containers belongs to it."""
    return BASE if os.geteuid() == 0 and covered() else os.geteuid()


def covered(path: Path = Path("/proc/self/uid_map")) -> bool:
    """Whether the user namespace we are in has the ids from BASE on."""
    rows = [[int(word) for word in line.split()] for line in path.read_text().splitlines()]
    return any(start <= BASE and BASE + COUNT <= start + count for start, _, count in rows)
