"""A NIC of a running node ──tcpdump──> a pcap, without root and without a program in the guest.

QEMU, or for a container a program of ours, writes every frame of the NIC to a file in the node's directory,
and we copy what comes. A pipe from QEMU itself would stop the whole machine as soon as nobody reads it.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from tasks.base import files, process_facts, progress, signals
from tasks.base.errors import UsageError, UserError
from tasks.base.node_names import node_name
from tasks.formats import pcap
from tasks.project import command_line
from tasks.project.project import Does, Project
from tasks.run.inspect import guest_capture, nics
from tasks.run.node import kinds
from tasks.run.running import reach

TURN = 0.05  # seconds between two looks
KEPT = "kept"


def _tcpdump(project: Project) -> None:
    node, *rest = project.words.args
    options = project.words.options
    if not rest:
        raise UsageError("no interface is given", project.words.usage)
    interface, *more = rest
    if "get" in options:
        _only(project, "get")
        for name in (interface, *more):
            _get(project, node, name)
        return
    if "start" in options:
        _only(project, "start")
        _start(project, node, interface, more)
        return
    if more:
        raise UsageError(
            f"unexpected words: {' '.join(more)}; a filter, or options of tcpdump, are taken with --start",
            f"xc tcpdump --start {node} {interface} {' '.join(more)}",
        )
    count = _count(options.get("count") or options.get("c") or "0")
    target = options.get("file") or options.get("w")
    if not target and sys.stdout.isatty():
        raise UsageError(
            "a capture cannot be written to a terminal",
            f"for example: xc tcpdump {node} {interface} | wireshark -k -i -; or --file=FILE",
        )
    _capture(nics.find(project, node, interface), target, count)


def _only(project: Project, name: str) -> None:
    others = [option for option in project.words.options if option != name]
    if others:
        raise UsageError(
            f"--{name} cannot be combined with {command_line.dashes(others[0])}", project.words.usage
        )


def _count(text: str) -> int:
    if not text.isdigit():
        raise UsageError(f"--count: expected a number of frames, got '{text}'")
    return int(text)


def _capture(nic: nics.Plugged, target: str | None, count: int) -> None:
    """Copy frames until there are enough, the node is gone or the user has seen enough."""
    with _sink(target) as sink:
        with _dumping(nic, nic.own.root / f"{nic.name}-{os.getpid()}.pcap") as source:
            copy = pcap.Copy(source, sink, count, nic.cable.surplus())
            try:
                progress.say(f"capturing {nic.text}; Ctrl-C ends it")
                while copy.left and kinds.BACKEND.pid(nic.own):
                    copy.more()
                    time.sleep(TURN)
            except signals.Ended:
                signals.accept()
        with source:
            copy.more()  # what came until the very end
    progress.say(f"{copy.got} frames")


@contextlib.contextmanager
def _sink(target: str | None) -> Iterator[IO[bytes]]:
    if not target:
        sys.stdout.flush()
        yield sys.stdout.buffer
        return
    try:
        file = open(target, "wb")
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror}", "write it to another file: --file=FILE"
        ) from error
    with file, files.explained(Path(target)):
        yield file


@contextlib.contextmanager
def _dumping(nic: nics.Plugged, spool: Path) -> Iterator[IO[bytes]]:
    """Frames are written to `spool` while the block runs. The caller closes the file that it gets."""
    name = str(os.getpid())
    try:
        for old in nic.cable.dumps():
            _sweep(nic, old)
        nic.cable.dump(name, spool)
        yield spool.open("rb")
    finally:
        try:
            nic.cable.end_dump(name)
        except UserError:  # the node is gone, and with it what captured
            if kinds.BACKEND.pid(nic.own):
                raise
        finally:
            spool.unlink(missing_ok=True)


def _sweep(nic: nics.Plugged, owner: str) -> None:
    """Remove a capture whose process was killed."""
    if owner.isdigit() and not process_facts.started_at(int(owner)):
        nic.cable.end_dump(owner)
        (nic.own.root / f"{nic.name}-{owner}.pcap").unlink(missing_ok=True)


def _start(project: Project, node: str, interface: str, words: Sequence[str]) -> None:
    """Capture in the background: a whole NIC from outside, anything else by tcpdump in the guest."""
    nic = nics.there(project, node, interface)
    number = reach.node_number(project, node)
    text = f"{interface} of {node_name(number)}"
    if nic and _kept(nic).is_file():
        raise UserError(
            f"{text} is being captured already", f"end that capture: xc tcpdump --get {number} {interface}"
        )
    if nic and not words:
        nic.cable.dump(KEPT, _kept(nic))
    elif nic is None and nics.is_numbered(interface):
        nics.find(project, node, interface)
    else:
        guest_capture.start(project, number, interface, words)
    progress.say(f"capturing {text}; `xc tcpdump --get {number} {interface}` ends it")


def _get(project: Project, node: str, interface: str) -> None:
    """End a capture, whoever makes it, and put it into the temporary directory."""
    nic = nics.there(project, node, interface)
    number = reach.node_number(project, node)
    target = Path(tempfile.gettempdir()) / f"{node_name(number)}-{interface}.pcap"
    if nic and _kept(nic).is_file():
        _fetch(nic, target)
    elif not guest_capture.get(project, number, interface, target):
        raise UserError(
            f"{interface} of {node_name(number)} is not being captured",
            f"start a capture: xc tcpdump --start {number} {interface}",
        )
    sys.stdout.write(f"wireshark {target} &\n")


def _fetch(nic: nics.Plugged, target: Path) -> None:
    nic.cable.end_dump(KEPT)
    surplus = nic.cable.surplus()
    with files.atomic(target) as temp, _kept(nic).open("rb") as source, temp.open("wb") as sink:
        pcap.Copy(source, sink, 0, surplus).more()
    _kept(nic).unlink()


def _kept(nic: nics.Plugged) -> Path:
    return nic.own.root / f"{nic.name}-{KEPT}.pcap"


DOES: Does = {"tcpdump": _tcpdump}
