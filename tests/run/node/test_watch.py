"""Following nodes while they boot, with guests that are threads and a QEMU that is `sleep`."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tasks.base.paths import NodeDir
from tasks.definitions.schema import Node
from tasks.run.node import watch
from tasks.run.node.protocol import NodeRun

WHO = b"go\nxc_node=1\nend\n"
LONG = 50  # seconds in which everything comes that comes at all
GREETING = b"SSH-2.0-dropbear_2022.83\r\n"
Talk = Callable[[socket.socket], None]


@dataclass
class Guests:
    """Nodes of which only the control port is there."""

    folder: Path
    runs: list[NodeRun] = field(default_factory=list)
    heard: dict[int, bytes] = field(default_factory=dict)

    def add(self, talk: Talk | None, alive: str = "60", code: int = 0) -> NodeRun:
        """A node whose QEMU lives for `alive` seconds and whose guest says what `talk` does."""
        number = len(self.runs) + 1
        directory = NodeDir(self.folder / f"vm-{number:03d}")
        directory.root.mkdir()
        node = Node(number=number, role="vm", mem=128, smp=1, nets=(0,), mtu=1500)
        process = subprocess.Popen(["sh", "-c", f"sleep {alive}; exit {code}"], start_new_session=True)
        if talk:
            self._listen(directory.control, talk, number)
        self.runs.append(NodeRun(node, directory, process))
        return self.runs[-1]

    def _listen(self, path: Path, talk: Talk, number: int) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            link, _ = server.accept()
            link.settimeout(10)
            talk(link)
            if talk is not hang_up:
                self.heard[number] = self.heard.get(number, b"") + drain(link)

        threading.Thread(target=serve, daemon=True).start()

    def wait(
        self, seconds: float, ssh: "Sshd | None" = None, enough: "Enough | None" = None
    ) -> list[watch.Outcome]:
        """Watch them all; one ssh server answers for all. Once there is `enough`, the time is over."""
        answers: list[int] = []
        server = ssh or Sshd(GREETING)
        watcher = Hurried(self.runs, lambda _: WHO, lambda _: ("127.0.0.1", server.port))
        watcher.enough = enough or (lambda _: False)
        outcomes = watcher.wait(seconds, answers.append)
        assert answers == sorted(set(answers))
        return outcomes


Enough = Callable[[Sequence[watch.Watched]], bool]


class Hurried(watch.Watch):
    """As patient as it has to be until it has seen enough, and then at the end of its patience."""

    enough: Enough

    def _now(self) -> float:
        return super()._now() + (LONG if self.enough(self._nodes) else 0)


class Sshd:
    """Greets everyone who connects, or keeps silent; `first` says what the first ones hear instead."""

    def __init__(self, greeting: bytes | None, first: tuple[bytes, ...] = ()) -> None:
        self.tries = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._says = [*first, greeting]
        self._links: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            link, _ = self._server.accept()
            says = self._says[min(self.tries, len(self._says) - 1)]
            self.tries += 1
            if says is None:
                self._links.append(link)
                continue
            with contextlib.suppress(OSError):
                link.sendall(says)
            link.close()


def drain(link: socket.socket) -> bytes:
    try:
        return link.recv(65536)
    except OSError:
        return b""


def boots(link: socket.socket) -> None:
    """A guest that comes up well; what it says arrives in odd pieces."""
    link.sendall(b"phase init\nhel")
    time.sleep(0.02)
    link.sendall(b"lo 1\n")
    assert link.recv(65536) == WHO
    link.sendall(b"overlay 00env 0\nrc 10net.rc 0\nphase rea")
    time.sleep(0.02)
    link.sendall(b"dy\n")


def stuck(link: socket.socket) -> None:
    link.sendall(b"phase init\nhello 1\n")
    link.recv(65536)
    link.sendall(b"overlay 00env 0\nrc 10net.rc 3\n\xff\xfe rubbish\n")


def silent(link: socket.socket) -> None:
    """A guest that does not speak."""


def hang_up(link: socket.socket) -> None:
    """A guest that asks and is gone before it is answered."""
    with contextlib.suppress(OSError):
        link.sendall(b"hello 1\n")
        link.shutdown(socket.SHUT_RDWR)
    link.close()


@pytest.fixture
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guests]:
    """No guests yet; the path is short enough for a socket."""
    group = Guests(tmp_path_factory.mktemp("g"))
    yield group
    for run in group.runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()


def test_all_come_up(guests: Guests) -> None:
    for _ in range(3):
        guests.add(boots)
    outcomes = guests.wait(20)
    assert [outcome.name for outcome in outcomes] == ["vm-001", "vm-002", "vm-003"]
    assert all(
        outcome.seconds is not None and outcome.phase == "ready" and not outcome.why for outcome in outcomes
    )
    events = guests.runs[0].directory.events.read_text().splitlines()
    assert [line.partition(" ")[2] for line in events] == [
        "phase init", "hello 1", "overlay 00env 0", "rc 10net.rc 0", "phase ready", "ssh"
    ]  # fmt: skip


def test_a_guest_that_does_not_get_ready(guests: Guests) -> None:
    run = guests.add(stuck)
    said = "/etc/init.d/10net.rc: line 2: no x\r\n/etc/init.d/20ok.rc: line 1: x\r\nsh: write error\r\n"
    run.directory.console_log.write_text(f"one\r\n{said}" + "".join(f"line {i}\n" for i in range(40)))
    (outcome,) = guests.wait(LONG, enough=lambda nodes: bool(nodes[0].failed_rc))
    assert outcome.seconds is None
    assert outcome.phase == "rc 10net.rc"
    assert outcome.failed_rc == ("10net.rc (3)",)
    assert outcome.complaints == "    | /etc/init.d/10net.rc: line 2: no x\n    | sh: write error\n"
    assert "no answer" in outcome.why and "rc 10net.rc" in outcome.why
    assert "line 39" in outcome.why and "line 3\n" not in outcome.why


def test_one_of_two(guests: Guests) -> None:
    guests.add(boots)
    guests.add(stuck)
    one, other = guests.wait(LONG, enough=lambda nodes: nodes[0].answered is not None)
    assert one.seconds is not None and other.seconds is None


def test_a_silent_guest_is_tried_by_ssh(guests: Guests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENT", 0.2)
    guests.add(silent)
    guests.add(None)
    outcomes = guests.wait(10)
    assert all(outcome.seconds and outcome.seconds >= 0.2 for outcome in outcomes)


def test_a_port_that_is_not_ssh_is_tried_again_and_told(guests: Guests) -> None:
    guests.add(boots)
    sshd = Sshd(b"220 ready for mail\r\n")
    (outcome,) = guests.wait(LONG, sshd, lambda nodes: sshd.tries >= 2 and bool(nodes[0].heard))
    assert outcome.seconds is None
    assert "'ready'" in outcome.why and "220 ready" in outcome.why
    assert sshd.tries >= 2


def test_a_server_that_hangs_up_first_is_tried_again(guests: Guests) -> None:
    """As QEMU does while nobody listens in the guest: it takes the connection and drops it."""
    guests.add(boots)
    sshd = Sshd(GREETING, first=(b"", b""))
    (outcome,) = guests.wait(10, sshd)
    assert outcome.seconds is not None and sshd.tries == 3


def test_a_refused_connection_is_told(guests: Guests) -> None:
    guests.add(boots)
    sshd = Sshd(GREETING)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        sshd.port = closed.getsockname()[1]
    (outcome,) = guests.wait(LONG, sshd, lambda nodes: bool(nodes[0].heard))
    assert outcome.seconds is None and "refused" in outcome.why


def test_a_server_that_is_silent_is_given_up_and_tried_again(
    guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PATIENT", 0.2)
    guests.add(boots)
    sshd = Sshd(None)
    (outcome,) = guests.wait(LONG, sshd, lambda _: sshd.tries >= 2)
    assert outcome.seconds is None


def test_a_process_that_ends_is_given_up_at_once(guests: Guests) -> None:
    guests.add(stuck)
    run = guests.add(None, alive="0.1", code=1)
    run.directory.qemu_log.write_text("$ qemu-system-x86_64 -m 128\nqemu: no space\n")
    began = time.monotonic()
    outcomes = guests.wait(50)
    assert time.monotonic() - began < 25
    assert "QEMU ended with exit code 1" in outcomes[1].why and "no space" in outcomes[1].why
    assert "-m 128" not in outcomes[1].why
    assert "console is empty" in outcomes[1].why


def test_a_guest_that_hangs_up_in_the_middle(guests: Guests) -> None:
    """As when QEMU dies just when it is answered: no traceback, but an outcome."""
    for _ in range(5):
        guests.add(hang_up, alive="0.5", code=1)
    outcomes = guests.wait(10)
    assert all(outcome.seconds is None for outcome in outcomes)


def asks_at_once(link: socket.socket) -> None:
    """A container: its overlays were unpacked before, so it only asks who it is."""
    link.sendall(b"phase init\nphase overlays\nwho\n")
    assert link.recv(65536) == WHO
    link.sendall(b"phase rc\nrc 10net.rc 0\nphase ready\n")


def asks_twice(link: socket.socket) -> None:
    """A machine says both words, and is told once."""
    link.sendall(b"phase init\nhello 2\n")
    assert link.recv(65536) == WHO
    link.sendall(b"who\nphase ready\n")


def test_a_container_is_told_when_it_asks(guests: Guests) -> None:
    run = guests.add(asks_at_once)
    guests.runs[0] = replace(run, events=("phase overlays", "overlay 00env 0", "overlay 01bad 2"))
    (outcome,) = guests.wait(20)
    assert outcome.seconds is not None and outcome.failed_rc == ("01bad (2)",)
    events = run.directory.events.read_text()
    assert "0.000 overlay 01bad 2 (in the layer of the overlays)" in events


def test_who_is_told_is_not_told_again(guests: Guests) -> None:
    guests.add(asks_twice)
    (outcome,) = guests.wait(20)
    assert outcome.seconds is not None
    assert guests.heard.get(1, b"") == b""
