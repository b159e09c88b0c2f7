"""Follows nodes while they boot: answers their question who they are, notes their phases, tries ssh.

The guest speaks first, line by line, on its control port (hvc0): `phase NAME`, `hello VERSION` (the launcher
answers), `overlay NAME EXITCODE`, `rc NAME EXITCODE`. A guest that does not speak is only judged by ssh.
"""

import contextlib
import selectors
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.lib import files
from tasks.node import NodeRun

ANSWER = 5.0  # seconds for a guest to take the answer
SSH_AT_ONCE = 8
SILENT = 15.0  # seconds after which a guest that says nothing is tried by ssh
RETRY = 0.3  # seconds between two tries of ssh
CONSOLE_LINES = 15


@dataclass
class Watched:
    """What is known of one node while it boots."""

    run: NodeRun
    phase: str = "start"
    failed_rc: list[str] = field(default_factory=list)
    answered: float | None = None  # seconds after the start
    link: socket.socket | None = None
    buffer: bytes = b""
    ssh: "subprocess.Popen[bytes] | None" = None
    next_try: float = 0.0
    events: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """How the boot of one node ended."""

    name: str
    seconds: float | None  # until ssh answered; None: it did not
    phase: str
    failed_rc: tuple[str, ...]
    why: str = ""  # what went wrong, with the last lines of the console


class Watch:
    """Follows a set of nodes until all answer, one dies, or the time is over."""

    def __init__(
        self,
        runs: Sequence[NodeRun],
        identity: Callable[[NodeRun], bytes],
        ssh: Callable[[NodeRun], list[str]],
    ) -> None:
        self._nodes = [Watched(run) for run in runs]
        self._identity = identity
        self._ssh = ssh
        self._selector = selectors.DefaultSelector()
        self._begin = time.monotonic()

    def wait(self, seconds: float, on_answer: Callable[[int], None]) -> list[Outcome]:
        """Until all nodes answer or `seconds` are over; a node whose process ended is given up at once."""
        try:
            while self._waiting() and self._now() < seconds:
                before = len(self._answered())
                self._step()
                if len(self._answered()) > before:
                    on_answer(len(self._answered()))
                if any(node.run.process.poll() is not None for node in self._waiting()):
                    break
            return [self._outcome(node) for node in self._nodes]
        finally:
            self._close()

    def _step(self) -> None:
        for node in self._nodes:
            if node.link is None:
                self._connect(node)
        connected = all(node.link for node in self._nodes)
        for key, _ in self._selector.select(0.02 if connected else 0.005):
            self._read(key.data)
        for node in self._waiting():
            self._try_ssh(node)

    def _waiting(self) -> list[Watched]:
        return [node for node in self._nodes if node.answered is None]

    def _answered(self) -> list[Watched]:
        return [node for node in self._nodes if node.answered is not None]

    def _now(self) -> float:
        return time.monotonic() - self._begin

    def _connect(self, node: Watched) -> None:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.connect(str(node.run.directory.control))
        except OSError:
            link.close()
            return
        link.setblocking(False)
        node.link = link
        self._selector.register(link, selectors.EVENT_READ, node)
        if node.run.frozen:
            self._tell(node)

    def _read(self, node: Watched) -> None:
        assert node.link
        try:
            data = node.link.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(node.link)
            return
        *lines, node.buffer = (node.buffer + data).split(b"\n")
        for line in lines:
            self._hear(node, line.decode(errors="replace").strip())

    def _hear(self, node: Watched, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word in ("phase", "hello", "overlay", "rc"):
            node.events.append(f"{self._now():.3f} {line}")
        if word == "phase":
            node.phase = rest
        elif word in ("overlay", "rc"):
            name, _, code = rest.rpartition(" ")
            node.phase = f"{word} {name}"
            if code != "0":
                node.failed_rc.append(f"{name} ({code})")
        elif word == "hello" and node.link:
            self._tell(node)

    def _tell(self, node: Watched) -> None:
        """Answer who the node is."""
        assert node.link
        node.link.settimeout(ANSWER)
        with contextlib.suppress(OSError):  # a node that died meanwhile is told by its process
            node.link.sendall(self._identity(node.run))
        node.link.setblocking(False)

    def _try_ssh(self, node: Watched) -> None:
        """Start ssh when the node is ready, and look how it went."""
        if node.ssh is not None:
            code = node.ssh.poll()
            if code is None:
                return
            node.ssh = None
            node.next_try = self._now() + RETRY
            if code == 0:
                node.answered = self._now()
                node.events.append(f"{self._now():.3f} ssh")
            return
        at_once = sum(other.ssh is not None for other in self._nodes)
        may = node.phase == "ready" or (not node.events and self._now() > SILENT)
        if may and at_once < SSH_AT_ONCE and self._now() >= node.next_try:
            with (node.run.directory.root / "ssh.log").open("wb") as log:
                node.ssh = subprocess.Popen(
                    self._ssh(node.run),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def _outcome(self, node: Watched) -> Outcome:
        why = "" if node.answered is not None else self._why(node)
        return Outcome(node.run.node.name, node.answered, node.phase, tuple(node.failed_rc), why)

    def _why(self, node: Watched) -> str:
        directory = node.run.directory
        code = node.run.process.poll()
        if code is not None:
            said = _tail(directory.qemu_log, 5, skip="$ ")
            return f"QEMU ended with exit code {code} in phase '{node.phase}'\n{said}{self._console(node)}"
        text = f"no answer after {self._now():.0f} s, in phase '{node.phase}'\n"
        if node.phase == "ready":
            text += _tail(directory.root / "ssh.log", 3)
        return text + self._console(node)

    def _console(self, node: Watched) -> str:
        lines = _tail(node.run.directory.console_log, CONSOLE_LINES)
        return f"    last lines of its console:\n{lines}" if lines else "    its console is empty\n"

    def _close(self) -> None:
        for node in self._nodes:
            if node.ssh and node.ssh.poll() is None:
                node.ssh.kill()
                node.ssh.wait()
            if node.link:
                node.link.close()
            with contextlib.suppress(OSError), files.atomic(node.run.directory.events) as temp:
                temp.write_text("".join(f"{line}\n" for line in node.events))
        self._selector.close()


def _tail(path: Path, count: int, skip: str | None = None) -> str:
    """The last lines of a file, indented; empty when there is none."""
    try:
        text = path.read_bytes().decode(errors="replace").replace("\r", "")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if line.strip() and not (skip and line.startswith(skip))]
    return "".join(f"    | {line}\n" for line in lines[-count:])
