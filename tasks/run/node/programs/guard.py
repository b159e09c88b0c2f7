"""Lets paused nodes go on when whoever saves a checkpoint of them is killed.

    python guard.py CLUSTER-DIRECTORY MONITOR...

MONITOR are the sockets of the nodes that are saved. Reads stdin until its end. If `done` was among it, all
is well. Else the saver died: its migrations and copies are given up, every node runs again, and the machines
that it had for itself are ended. Runs by itself, on the standard library alone.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE = 30.0  # seconds for one node: a QEMU that writes to a slow disk answers late
BUSY = ("setup", "active", "pre-switchover", "device", "cancelling")


class PlainMonitor:
    """The monitor (QMP) of one node."""

    def __init__(self, path: Path, until: float) -> None:
        self._link = socket.socket(socket.AF_UNIX)
        self._link.settimeout(max(until - time.monotonic(), 0.1))
        folder = os.open(path.parent, os.O_PATH)
        try:
            self._link.connect(f"/proc/self/fd/{folder}/{path.name}")  # a socket cannot have a long path
        finally:
            os.close(folder)
        self._lines = self._link.makefile("rb")
        self._lines.readline()  # the greeting
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns for a command; None for an error."""
        words = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._link.sendall(json.dumps(words).encode() + b"\n")
        while line := self._lines.readline():
            answer = json.loads(line)
            if "event" not in answer:
                return answer.get("return")
        raise OSError("the monitor was closed")


def resume(path: Path) -> None:
    """Let the node of this monitor go on, and take from it what the saver has begun."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):
            if _step(PlainMonitor(path, until), until):
                return
        time.sleep(0.05)


def _step(monitor: PlainMonitor, until: float) -> bool:
    """Undo what the saver began, until the time is over. Returns whether the node runs without it."""
    monitor.ask("migrate_cancel")
    while time.monotonic() < until:
        jobs = monitor.ask("query-block-jobs") or []
        for job in jobs:
            monitor.ask("block-job-cancel", device=job["device"], force=True)
        migrating = (monitor.ask("query-migrate") or {}).get("status") in BUSY
        running = (monitor.ask("query-status") or {}).get("running")
        if running and not jobs and not migrating:
            return True
        if not jobs and not migrating:
            monitor.ask("cont")
        time.sleep(0.02)
    return False


def end(state: Path) -> None:
    """End the process of a state file, if it is still the one."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        saved = json.loads(state.read_text())
        stat = Path(f"/proc/{saved['pid']}/stat").read_text()
        if int(stat.rpartition(")")[2].split()[19]) == saved["start"]:
            os.kill(saved["pid"], signal.SIGKILL)


def main(cluster: Path, monitors: list[Path]) -> None:
    """Wait for the saver, and clear up after one that died."""
    if b"done" in sys.stdin.buffer.read():
        return
    works = [threading.Thread(target=resume, args=[path]) for path in monitors]
    for work in works:
        work.start()
    for work in works:
        work.join()
    for state in cluster.glob("s-*/node.json"):
        end(state)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]])
