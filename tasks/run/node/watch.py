"""Follows nodes while they boot: answers their question who they are, notes their phases, waits for ssh.

The guest speaks first, line by line, on its control port; control_port.py has the words. A guest that does
not speak is only judged by ssh.
A node is up when its ssh server says what it is through the forwarded port: "SSH-2.0-..." (RFC 4253, 4.2).
"""

import contextlib
import re
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.base import files, unix_sockets
from tasks.run.node import control_port
from tasks.run.node.protocol import NodeRun

ANSWER = 5.0  # seconds for a guest to take the answer
SILENT = 15.0  # seconds after which ssh is tried with a guest that says nothing
RETRY = 0.1  # seconds between two tries of ssh
PATIENT = 10.0  # seconds for one of them: QEMU connects at once, and the guest later
CONSOLE_LINES = 15
ENDED = "ended with exit code"
COMPLAINTS = 5  # at most, of scripts that failed
EVENTS = (control_port.PHASE, control_port.HELLO, control_port.OVERLAY, control_port.RC)  # that are noted


@dataclass
class Watched:
    """The state of one node while it boots."""

    run: NodeRun
    phase: str = control_port.START
    failed_rc: list[str] = field(default_factory=list)
    answered: float | None = None  # seconds after the start
    link: socket.socket | None = None
    buffer: bytes = b""
    ssh: socket.socket | None = None
    next_try: float = 0.0  # while ssh is tried: when to give that up
    heard: bytes = b""  # from the ssh port, when it was not what it should be
    events: list[str] = field(default_factory=list)
    identity_sent: bool = False

    def __post_init__(self) -> None:
        if self.run.frozen and self.run.frozen.booted:
            self.phase = control_port.READY
        for event in self.run.events:
            self.note(control_port.parse(event.encode()))

    def note(self, line: control_port.Line) -> None:
        """Take notice of a result or a phase."""
        if line.word == control_port.PHASE:
            self.phase = line.rest
        elif line.word in (control_port.OVERLAY, control_port.RC):
            name, code = line.result
            self.phase = f"{line.word} {name}"
            if code != "0":
                self.failed_rc.append(f"{name} ({code})")


@dataclass(frozen=True)
class Outcome:
    """How the boot of one node ended."""

    name: str
    seconds: float | None  # until ssh answered; None: it did not
    phase: str
    failed_rc: tuple[str, ...]
    why: str = ""  # what went wrong, with the last lines of the console
    complaints: str = ""  # lines of the console that name the scripts which failed, indented


class Watch:
    """Follows a set of nodes until all answer, one dies, or the time is over."""

    def __init__(
        self,
        runs: Sequence[NodeRun],
        identity: Callable[[NodeRun], bytes],
        ssh: Callable[[NodeRun], tuple[str, int]],
    ) -> None:
        self._nodes = [Watched(run, events=_before(run)) for run in runs]
        self._identity = identity
        self._ssh = ssh
        self._selector = selectors.DefaultSelector()
        self._begin = time.monotonic()

    def wait(self, seconds: float, on_answer: Callable[[int], None]) -> list[Outcome]:
        """Wait until all nodes answer or `seconds` are over. A node whose process ends is given up."""
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
            hear, node = key.data
            hear(node)
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
            unix_sockets.connect(link, node.run.directory.control)
        except OSError:
            link.close()
            return
        link.setblocking(False)
        node.link = link
        self._selector.register(link, selectors.EVENT_READ, (self._read, node))
        if node.run.frozen and not node.run.frozen.booted:
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
            self._hear(node, control_port.parse(line))

    def _hear(self, node: Watched, line: control_port.Line) -> None:
        if line.word in EVENTS:
            node.events.append(f"{self._now():.3f} {line}")
        node.note(line)
        if line.word in (control_port.HELLO, control_port.WHO) and node.link and not node.identity_sent:
            self._tell(node)

    def _tell(self, node: Watched) -> None:
        """Answer who the node is."""
        assert node.link
        node.identity_sent = True
        node.link.settimeout(ANSWER)
        with contextlib.suppress(OSError):  # if the node has died, its process shows that
            node.link.sendall(self._identity(node.run))
        node.link.setblocking(False)

    def _try_ssh(self, node: Watched) -> None:
        """Connect to the ssh port when the node is ready; again when that came to nothing."""
        if node.ssh is not None:
            if self._now() > node.next_try:
                self._hang_up(node)
            return
        may = node.phase == control_port.READY or (node.phase == control_port.START and self._now() > SILENT)
        if may and self._now() >= node.next_try:
            node.ssh = socket.socket()
            node.ssh.setblocking(False)
            node.ssh.connect_ex(self._ssh(node.run))
            node.next_try = self._now() + PATIENT
            self._selector.register(node.ssh, selectors.EVENT_READ, (self._greeted, node))

    def _greeted(self, node: Watched) -> None:
        """The ssh server speaks first, or the connection was refused."""
        assert node.ssh
        try:
            node.heard = node.ssh.recv(255)
        except OSError as error:
            node.heard = str(error).encode()
        if node.heard.startswith(b"SSH-"):
            node.answered = self._now()
            node.events.append(f"{node.answered:.3f} ssh")
        self._hang_up(node)

    def _hang_up(self, node: Watched) -> None:
        assert node.ssh
        self._selector.unregister(node.ssh)
        node.ssh.close()
        node.ssh = None
        node.next_try = self._now() + RETRY

    def _outcome(self, node: Watched) -> Outcome:
        why = "" if node.answered is not None else self._why(node)
        failed_rc = tuple(node.failed_rc)
        return Outcome(node.run.node.name, node.answered, node.phase, failed_rc, why, self._complaints(node))

    def _complaints(self, node: Watched) -> str:
        """Errors begin with the path of the script; or with its shell's, if a builtin could not write."""
        names = [re.escape(f"/{failure.partition(' ')[0]}: ") for failure in node.failed_rc]
        pattern = "|".join([*names, r"^(a|ba)?sh: "])
        return _tail(node.run.directory.console_log, COMPLAINTS, pattern=pattern) if names else ""

    def _why(self, node: Watched) -> str:
        directory = node.run.directory
        code = node.run.process.poll()
        if code is not None:
            log = _tail(directory.qemu_log, 5, skip="$ ")
            what = "its container" if node.run.node.kind == "container" else "QEMU"
            return f"{what} {ENDED} {code} in phase '{node.phase}'\n{log}{self._console(node)}"
        text = f"no answer after {self._now():.0f} s, in phase '{node.phase}'\n"
        if node.phase == control_port.READY:
            text += f"    its ssh port says {node.heard.decode(errors='replace')!r}\n"
        return text + self._console(node)

    def _console(self, node: Watched) -> str:
        lines = _tail(node.run.directory.console_log, CONSOLE_LINES)
        return f"    last lines of its console:\n{lines}" if lines else "    its console is empty\n"

    def _close(self) -> None:
        for node in self._nodes:
            if node.ssh:
                node.ssh.close()
            if node.link:
                node.link.close()
            with contextlib.suppress(OSError), files.atomic(node.run.directory.events) as temp:
                temp.write_text("".join(f"{line}\n" for line in node.events))
        self._selector.close()


def _before(run: NodeRun) -> list[str]:
    """The phases before a clone was thawed or a container started, which took it no time."""
    thawed = [f"0.000 {event} (in the snapshot)" for event in run.frozen.events] if run.frozen else []
    return thawed + [f"0.000 {event} (in the layer of the overlays)" for event in run.events]


def _tail(path: Path, count: int, skip: str | None = None, pattern: str = "") -> str:
    """The last lines of a file in which the expression `pattern` is found, indented; empty for none."""
    try:
        text = path.read_bytes().decode(errors="replace").replace("\r", "")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if line.strip() and not (skip and line.startswith(skip))]
    lines = [line for line in lines if re.search(pattern, line)]
    return "".join(f"    | {line}\n" for line in lines[-count:])
