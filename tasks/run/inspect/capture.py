"""A NIC of a running node ──tcpdump──> a pcap, without root and without a program in the guest.

QEMU writes every frame of the NIC to a file in the node's directory, and we copy what comes. A pipe from QEMU
itself would stop the whole machine as soon as nobody reads it.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tasks.base import files, process_facts, progress, signals
from tasks.base.errors import UsageError, UserError
from tasks.formats import pcap
from tasks.project import command_line
from tasks.project.project import Does, Project
from tasks.run.inspect import nics
from tasks.run.node import filters, qemu, qmp

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
            _get(nics.find(project, node, name))
        return
    if more:
        raise UsageError(
            f"unexpected words: {' '.join(more)}; "
            "tcpdump takes no filter, so filter when you read the capture",
            project.words.usage,
        )
    if "start" in options:
        _only(project, "start")
        _start(nics.find(project, node, interface))
        return
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
            copy = pcap.Copy(source, sink, count, nics.ask(nic.own, lambda m: filters.surplus(m, nic.netdev)))
            try:
                progress.say(f"capturing {nic.text}; Ctrl-C ends it")
                while copy.left and qemu.BACKEND.pid(nic.own):
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
    """QEMU writes to `spool` while the block runs. The caller closes the file that it gets."""
    name = f"dump-{nic.netdev}-{os.getpid()}"

    async def begin(monitor: qmp.Monitor) -> None:
        for old in await filters.names(monitor):
            await _sweep(monitor, nic, old)
        await filters.dump(monitor, name, nic.netdev, spool)

    async def end(monitor: qmp.Monitor) -> None:
        await filters.remove(monitor, name)

    try:
        nics.ask(nic.own, begin)
        yield spool.open("rb")
    finally:
        try:
            nics.ask(nic.own, end)
        except UserError:  # the node is gone, and with it the filter
            if qemu.BACKEND.pid(nic.own):
                raise
        finally:
            spool.unlink(missing_ok=True)


async def _sweep(monitor: qmp.Monitor, nic: nics.Plugged, name: str) -> None:
    """Remove a capture whose process was killed."""
    owner = name.removeprefix(f"dump-{nic.netdev}-")
    if owner.isdigit() and not process_facts.started_at(int(owner)):
        await filters.remove(monitor, name)
        (nic.own.root / f"{nic.name}-{owner}.pcap").unlink(missing_ok=True)


def _start(nic: nics.Plugged) -> None:
    name = f"dump-{nic.netdev}-{KEPT}"

    async def begin(monitor: qmp.Monitor) -> bool:
        if name in await filters.names(monitor):
            return False
        await filters.dump(monitor, name, nic.netdev, _kept(nic))
        return True

    if not nics.ask(nic.own, begin):
        raise UserError(
            f"{nic.text} is being captured already",
            f"end that capture: xc tcpdump --get {nic.node.number} {nic.name}",
        )
    progress.say(f"capturing {nic.text}; `xc tcpdump --get {nic.node.number} {nic.name}` ends it")


def _get(nic: nics.Plugged) -> None:
    name = f"dump-{nic.netdev}-{KEPT}"

    async def end(monitor: qmp.Monitor) -> int:
        await filters.remove(monitor, name)
        return await filters.surplus(monitor, nic.netdev)

    if not _kept(nic).is_file():
        raise UserError(
            f"{nic.text} is not being captured",
            f"start a capture: xc tcpdump --start {nic.node.number} {nic.name}",
        )
    surplus = nics.ask(nic.own, end)
    target = Path(tempfile.gettempdir()) / f"{nic.node.name}-{nic.name}.pcap"
    with files.atomic(target) as temp, _kept(nic).open("rb") as source, temp.open("wb") as sink:
        pcap.Copy(source, sink, 0, surplus).more()
    _kept(nic).unlink()
    sys.stdout.write(f"wireshark {target} &\n")


def _kept(nic: nics.Plugged) -> Path:
    return nic.own.root / f"{nic.name}-{KEPT}.pcap"


DOES: Does = {"tcpdump": _tcpdump}
