"""A process of the host by its pid: when it started, so that it is known again, its memory, and its end."""

import os
import signal
import time
from pathlib import Path


def started_at(pid: int) -> int | None:
    """The kernel's start time of `pid` in clock ticks (proc(5), field 22); None when it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def real_memory(pid: int) -> int:
    """The memory of a process in KiB, with its share of shared pages (PSS); 0 when it does not run."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def kill(pid: int, start: int, grace: float = 2.0) -> None:
    """End process `pid`, if it is still the one that started at `start`.

    It gets SIGTERM, and SIGKILL if it still runs after `grace` seconds.
    """
    try:
        handle = os.pidfd_open(pid)  # the number may be another process's a moment after it was looked at
    except OSError:
        return
    try:
        for sign, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            if started_at(pid) != start:
                return
            signal.pidfd_send_signal(handle, sign)
            deadline = time.monotonic() + patience
            while started_at(pid) == start and time.monotonic() < deadline:
                time.sleep(0.01)
    except (ProcessLookupError, PermissionError):
        return
    finally:
        os.close(handle)
