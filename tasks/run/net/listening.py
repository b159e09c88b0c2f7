"""Who listens on a TCP port, as the kernel's tables tell: also in a network namespace that we are not in."""

import contextlib
import os
from pathlib import Path


def listens(pid: int, port: int) -> bool:
    """Whether a process listens on a TCP port, in whatever namespace it is."""
    return bool(sockets(str(pid), port) & inodes_of(pid))


def sockets(pid: str, port: int) -> set[str]:
    """The inodes of listening TCP sockets with this port, in the network namespace of a process."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        fields = [line.split() for line in lines]
        inodes |= {each[9] for each in fields if each[3] == "0A" and each[1].endswith(f":{port:04X}")}
    return inodes


def inodes_of(pid: int) -> set[str]:
    """The inodes of a process's sockets, as far as we may look."""
    inodes = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(link)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        pass
    return inodes


def owner(port: int, own: int | None = None) -> str | None:
    """Who listens on a TCP port here, if somebody else than the process `own` does; None: nobody."""
    inodes = sockets("self", port)
    if not inodes or (own and inodes <= inodes_of(own)):
        return None
    for path in Path("/proc").glob("[0-9]*"):
        if path.name != str(own) and inodes & inodes_of(int(path.name)):
            with contextlib.suppress(OSError):  # it has just ended
                return f"{(path / 'comm').read_text().strip()} (process {path.name})"
    return "another program"
