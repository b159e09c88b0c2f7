"""A golden snapshot: a guest frozen where it asks who it is, and nodes that are thawed from it.

All nodes of a cluster are the same until then. The template's memory is a file that clones map privately, so
a clone costs what it changes. Its disk is the backing file of theirs; its ISO is empty and never read before.
"""

import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.lib import files, proc, qmp
from tasks.lib.errors import UserError
from tasks.lib.model import Node
from tasks.lib.paths import NodeDir
from tasks.net import LooseNic, Nic
from tasks.node import Boot, Frozen, NodeRun, qemu

ISO_SIZE = "8G"  # of the disk that holds the ISO, for every ISO: the frozen kernel knows its size
PATIENCE = 60.0  # seconds for the template to come to the freeze point
SETTLE = 1.0  # seconds the template runs on: its kernel brings the interfaces' carrier up
WAIT = 3600  # seconds that a thawed guest goes on waiting to be told who it is


@dataclass(frozen=True)
class Shape:
    """What nodes cloned from one snapshot have in common."""

    mem: int
    smp: int
    nics: int
    mtus: tuple[tuple[int, int], ...]  # (net, mtu) where it is not the usual one
    append: str

    @property
    def name(self) -> str:
        """For a file name."""
        rest = [*self.mtus, self.append] if self.mtus or self.append else []
        mark = f"-{files.digest(rest)[:8]}" if rest else ""
        return f"{self.mem}M-{self.smp}cpu-{self.nics}nic{mark}"


def shape_of(node: Node) -> Shape:
    """The shape a snapshot must have for this node to be its clone."""
    mtus = tuple((net, node.mtu) for net in node.nets) if node.mtu != 1500 else ()
    return Shape(node.mem, node.smp, len(node.nets), mtus, node.append)


def key(boot: Boot, made: Shape, contents: Sequence[str]) -> str:
    """The identity of a snapshot: everything that the frozen guest has seen, and QEMU itself.

    `contents` are the hashes of kernel and image.
    """
    program = Path(proc.need(qemu.QEMU)).stat()
    words = qemu.cmdline(boot, _template_node(made), WAIT)
    parts = [words, made.name, boot.accel, boot.machine, boot.extra, *contents]
    return files.digest([*parts, program.st_size, program.st_mtime_ns])


def make(boot: Boot, made: Shape, identity: str, folder: Path) -> None:
    """Boot the template, freeze it, and leave ram, state, disks and a stamp in `folder`.

    Raises UserError when the guest does not come to the freeze point or QEMU cannot save it.
    """
    with files.atomic(folder, directory=True) as temp:
        own = NodeDir(temp / "t")
        own.root.mkdir()
        qemu.make_disk(boot.image, temp / "disk.qcow2", temp)
        _empty_iso(temp / "cdrom.qcow2", None)
        frozen = Frozen(temp / "ram", None)
        template = replace(boot, iso=temp / "cdrom.qcow2", frozen=frozen)
        shutil.move(temp / "disk.qcow2", own.disk)
        nics: list[Nic] = [LooseNic(net, f"00:00:00:01:{net:02x}:fe") for net in range(made.nics)]
        command = qemu.argv(template, _template_node(made), nics, own, wait=WAIT)
        process = proc.spawn(command, own.qemu_log)
        try:
            _until_asked(own, process.poll)
            time.sleep(SETTLE)
            qmp.each([own.qmp], lambda _, monitor: _freeze(monitor, temp / "state"))
        finally:
            proc.kill(process.pid, proc.started_at(process.pid) or -1, grace=0.5)
            process.wait()
        shutil.move(own.disk, temp / "disk.qcow2")
        files.remove(own.root)
        files.write_json(temp / "golden.json", {"key": identity})


def thawing(boot: Boot, folder: Path, directory: Path) -> Boot:
    """`boot` for clones of the snapshot in `folder`; `directory` is where the ISO's disk is put."""
    disk = directory / "cdrom.qcow2"
    if not disk.is_file():
        _empty_iso(disk, boot.iso)
    frozen = Frozen(folder / "ram", folder / "state")
    return replace(boot, image=folder / "disk.qcow2", iso=disk, frozen=frozen)


def thaw(runs: Sequence[NodeRun]) -> None:
    """Give the clones among `runs` the state of their snapshots, all at once. UserError when one fails."""
    clones = [(run.directory.qmp, run.frozen.state) for run in runs if run.frozen and run.frozen.state]
    qmp.each([path for path, _ in clones], lambda i, monitor: _thaw(monitor, clones[i][1]))


def _template_node(made: Shape) -> Node:
    nets = tuple(range(made.nics))
    return Node(number=254, role="vm", mem=made.mem, smp=made.smp, nets=nets, mtu=1500, append=_append(made))


def _append(made: Shape) -> str:
    return " ".join(
        [
            "xc_template",
            *(f"mtu{net}={mtu}" for net, mtu in made.mtus),
            *([made.append] if made.append else []),
        ]
    )


def _empty_iso(disk: Path, iso: Path | None) -> None:
    """The disk of the ISO: as large for every ISO, and without one all zeros."""
    backing = ["-F", "raw", "-b", str(iso)] if iso else []
    proc.output(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(disk), ISO_SIZE])


def _until_asked(own: NodeDir, ended: object) -> None:
    """Wait for `hello` on the control port."""
    end = time.monotonic() + PATIENCE
    heard = b""
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(0.2)
    try:
        connected = False
        while b"hello" not in heard:
            if time.monotonic() > end or (callable(ended) and ended() is not None):
                raise UserError(f"the template did not come to the freeze point: {_last_words(own)}")
            try:
                if not connected:
                    link.connect(str(own.control))
                    connected = True
                heard += link.recv(4096)
            except (OSError, TimeoutError):
                time.sleep(0.01)
    finally:
        link.close()


def _last_words(own: NodeDir) -> str:
    texts = [path.read_text(errors="replace") for path in (own.console_log, own.qemu_log) if path.is_file()]
    lines = [
        line for text in texts for line in text.splitlines() if line.strip() and not line.startswith("$ ")
    ]
    return lines[-1].strip() if lines else "it said nothing"


async def _thaw(monitor: qmp.Monitor, state: Path) -> None:
    await monitor.load(state, shared_ram=True)
    await monitor.execute("cont")


async def _freeze(monitor: qmp.Monitor, state: Path) -> None:
    await monitor.execute("stop")
    await monitor.save(state, shared_ram=True)
