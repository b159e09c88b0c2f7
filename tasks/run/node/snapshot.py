"""A golden snapshot: a guest frozen where it asks who it is, and nodes that are thawed from it.

All nodes of a cluster are the same until then. The template's memory is a file that clones map privately, so
a clone costs what it changes. Its disk is the backing file of theirs; its ISO is empty and never read before.
"""

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.base import files, proc, process_facts, sparse, unix_sockets
from tasks.base.errors import UserError
from tasks.base.paths import NodeDir
from tasks.definitions.schema import Node
from tasks.run.net.protocol import Nic, loose
from tasks.run.node import control_port, qemu, qmp
from tasks.run.node.protocol import Boot, Frozen, NodeRun

ISO_SIZE = "8G"  # of the disk that holds the ISO, for every ISO: the frozen kernel knows its size
SETTLE_UNPACKED = 0.3  # the same for its daemons, which have just been started
PATIENCE = 180.0  # seconds for the template to come to the freeze point
SETTLE = 1.0  # seconds the template runs on: its kernel brings the interfaces' carrier up
CONSOLE = "console.log"  # what the template printed, which its clones have printed too
PARTS = ("ram", "state", "disk.qcow2", CONSOLE)  # of a snapshot, which clones are made from
WAIT = 3600  # seconds that a thawed guest goes on waiting for its identity


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


def snapshot_id(boot: Boot, shape: Shape, contents: Sequence[str]) -> str:
    """The identity of a snapshot: everything that the frozen guest has seen, and QEMU itself.

    `contents` are the hashes of kernel and image.
    """
    nowhere = replace(
        boot,
        kernel=Path("kernel"),
        initramfs=boot.initramfs and Path("initramfs"),
        modules=boot.modules and Path("modules"),
        containers=boot.containers and Path("containers"),
        image=Path("image"),
        iso=Path("cdrom.qcow2"),
        frozen=Frozen(Path("ram"), None),
        crowded=False,
    )
    words = qemu.argv(nowhere, _template_node(shape), _nics(boot, shape), NodeDir(Path("node")))
    host = [os.uname().release] if boot.apart else []  # its kernel says what a tap can do
    return files.digest([words, *contents, *qemu.program(), *host])


def make(boot: Boot, shape: Shape, identity: str, folder: Path) -> None:
    """Boot the template, freeze it before it looks at the ISO, and leave ram, state, disks and a stamp.

    Raises UserError when the guest does not come to the freeze point or QEMU cannot save it.
    """
    with files.atomic(folder, directory=True) as temp:
        own = _prepare(temp)
        qemu.make_disk(boot.image, own.disk, temp)
        _empty_iso(temp / "cdrom.qcow2", None)
        template = replace(boot, iso=temp / "cdrom.qcow2", frozen=Frozen(temp / "ram", None))
        with _template(template, shape, own) as ended:
            heard = _until(own, control_port.HELLO.encode(), ended)
            time.sleep(SETTLE)
            qmp.each([own.qmp], lambda _, monitor: _freeze(monitor, temp / "state"))
        _finish(temp, own, identity, heard)


def unpack(boot: Boot, shape: Shape, identity: str, source: Path, folder: Path) -> None:
    """Let a clone of the snapshot in `source` unpack the overlays of `boot.iso`, and freeze it before it asks
    who it is.

    Raises UserError when an overlay fails in the guest, too: then each node shall say so itself.
    """
    with files.atomic(folder, directory=True) as temp:
        own = _prepare(temp)
        shutil.copyfile(source / "disk.qcow2", own.disk)
        shutil.copyfile(source / CONSOLE, own.console_log)
        sparse.copy(source / "ram", temp / "ram")
        _empty_iso(temp / "cdrom.qcow2", boot.iso)
        frozen = Frozen(temp / "ram", source / "state", own=True)
        with _template(replace(boot, iso=temp / "cdrom.qcow2", frozen=frozen), shape, own) as ended:
            qmp.each([own.qmp], lambda _, monitor: _thaw(monitor, source / "state"))
            go, who = control_port.line(control_port.GO), control_port.line(control_port.WHO)
            heard = _until(own, who, ended, say=go)
            if failed := control_port.failed_overlay(heard):
                raise UserError(
                    f"overlay {failed[0]} cannot be unpacked in the guest (tar ended with {failed[1]})"
                )
            time.sleep(SETTLE_UNPACKED)
            qmp.each([own.qmp], lambda _, monitor: _freeze(monitor, temp / "state"))
        _finish(temp, own, identity, heard)


def _prepare(temp: Path) -> NodeDir:
    temp.chmod(0o700)  # overlays may have keys in them
    own = NodeDir(temp / "t")
    own.root.mkdir()
    return own


@contextlib.contextmanager
def _template(boot: Boot, shape: Shape, own: NodeDir) -> Iterator[Callable[[], object]]:
    """Run the template while the block runs. The block gets a function that says whether it has ended."""
    node, nics = _template_node(shape), _nics(boot, shape)
    words = qemu.sandboxed(qemu.argv(boot, node, nics, own, wait=WAIT, sockets=unix_sockets.HERE))
    command = unix_sockets.beside(own.root, [*boot.apart, *proc.MORTAL, *words])
    process = proc.spawn(command, own.qemu_log)
    try:
        yield process.poll
    finally:
        process_facts.kill(process.pid, process_facts.started_at(process.pid) or -1, grace=0.5)
        process.wait()


def _finish(temp: Path, own: NodeDir, identity: str, heard: bytes) -> None:
    """Keep the disk and what was heard on the control port; the stamp comes last."""
    shutil.move(own.disk, temp / "disk.qcow2")
    shutil.move(own.console_log, temp / CONSOLE)
    files.remove(own.root)
    events = [line for line in heard.decode(errors="replace").splitlines() if " " in line]
    stamp = {"key": identity, "events": events, "files": states(temp)}
    files.write_json(temp / "golden.json", stamp)


def is_intact(folder: Path) -> bool:
    """Whether the files of a snapshot are as they were saved, by size and time.

    They are not hashed: the memory may have gigabytes, and another snapshot is made in seconds.
    """
    return files.read_json(folder / "golden.json").get("files") == states(folder)


def states(folder: Path) -> dict[str, list[int]]:
    """Size and modification time (ns) of each file that clones are made from."""
    infos = {path.name: path.stat() for path in map(folder.joinpath, PARTS) if path.is_file()}
    return {name: [info.st_size, info.st_mtime_ns] for name, info in infos.items()}


def thawing(boot: Boot, folder: Path, directory: Path) -> Boot:
    """`boot` for clones of the snapshot in `folder`; `directory` is where the ISO's disk is put."""
    iso = files.held(boot.iso, directory) if boot.iso else None
    image = files.held(folder / "disk.qcow2", directory)
    events = tuple(files.read_json(folder / "golden.json").get("events", ()))
    frozen = Frozen(folder / "ram", folder / "state", events=events)
    return replace(boot, image=image, iso=iso_disk(directory, iso), frozen=frozen)


def iso_disk(directory: Path, iso: Path | None) -> Path:
    """The disk in `directory` that shows `iso` to clones."""
    directory.mkdir(parents=True, exist_ok=True)
    disk = directory / f"{iso.stem if iso else 'cdrom'}.qcow2"
    if not disk.is_file():
        _empty_iso(disk, iso)
    return disk


def thaw(runs: Sequence[NodeRun]) -> None:
    """Give the clones among `runs` the state of their snapshots, all at once. UserError when one fails."""
    clones = [(run.directory.qmp, run.frozen.state) for run in runs if run.frozen and run.frozen.state]
    qmp.each([path for path, _ in clones], lambda i, monitor: _thaw(monitor, clones[i][1]))


def _template_node(shape: Shape) -> Node:
    """A node with what its clones have on their command line."""
    nets = tuple(net for net, _ in shape.mtus) or tuple(range(shape.nics))
    mtu = shape.mtus[0][1] if shape.mtus else 1500
    append = f"xc_template {shape.append}".strip()
    return Node(number=254, role="vm", mem=shape.mem, smp=shape.smp, nets=nets, mtu=mtu, append=append)


def _nics(boot: Boot, shape: Shape) -> list[Nic]:
    tap = bool(boot.apart)
    return [loose(net, f"00:00:00:01:{net:02x}:fe", tap=tap) for net in range(shape.nics)]


def _empty_iso(disk: Path, iso: Path | None) -> None:
    """The disk of the ISO: as large for every ISO, and without one all zeros."""
    backing = ["-F", "raw", "-b", str(iso)] if iso else []
    proc.output(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(disk), ISO_SIZE])


def _until(own: NodeDir, mark: bytes, ended: Callable[[], object], say: bytes = b"") -> bytes:
    """Send `say` on the control port, and return all lines that come until `mark`."""
    end = time.monotonic() + PATIENCE
    heard = b""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(0.2)
        connected = False
        while mark not in heard:
            if time.monotonic() > end or ended() is not None:
                raise UserError(f"the guest for the golden snapshot did not boot: {_last_words(own)}")
            try:
                if not connected:
                    unix_sockets.connect(link, own.control)
                    connected = True
                    link.sendall(say)
                heard += link.recv(4096)
            except (OSError, TimeoutError):
                time.sleep(0.005)
    return heard


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
