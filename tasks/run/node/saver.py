"""Running nodes ──save──> the memory, machine and disk of each, all of one moment.

Disks are mirrored while the nodes run. When all have caught up, all nodes are stopped, then their memory is
written, then they go on. Memory is not copied while they run. That would pause them for only
0.1 s, but an emulated guest (QEMU 7.2, TCG) writes to pages without QEMU noticing, and crashes when restored.

After that each stream is turned into a memory file and a small state, the form that clones start from, in a
machine that never runs.
"""

import asyncio
import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.base import files, helper, proc, records, signals, unix_sockets
from tasks.base.checkpoint_paths import CheckpointDir
from tasks.base.errors import UserError
from tasks.base.paths import ClusterDir, NodeDir
from tasks.base.records import Mark, ProcessRecord
from tasks.definitions.schema import Node
from tasks.run.net.protocol import Nic, UserNic, loose
from tasks.run.node import node_state, qemu, qmp
from tasks.run.node.protocol import Boot, Frozen

GUARD = Path(__file__).parent / "programs" / "guard.py"
JOB = "checkpoint"  # the mirror of a node's disk
AT_ONCE = 2  # machines that are turned into their last form at the same time


@dataclass(frozen=True)
class Kept:
    """A node to be saved: what it was started from, and its NICs."""

    node: Node
    boot: Boot
    nics: Sequence[Nic]


def with_iso(plain: Boot, cluster: ClusterDir, node: Node) -> Boot:
    """`plain`, with the disks of ISO and container images and the memory file that this running node has."""
    record = node_state.read(cluster.node(node.number))
    frozen = Frozen(record.ram, None) if record.ram else None
    return replace(plain, iso=record.iso, containers=record.containers, frozen=frozen)


def save(nodes: Sequence[Kept], cluster: ClusterDir, into: CheckpointDir) -> float:
    """Save the nodes into the directory; the seconds that they were paused.

    The nodes run on however this ends, even if it is killed by SIGKILL.
    """
    _warm({kept.boot.frozen.ram for kept in nodes if kept.boot.frozen})
    with guarded(cluster, [kept.node.number for kept in nodes]):
        moment = _Moment([kept.node.number for kept in nodes], into)
        sockets = [cluster.node(kept.node.number).qmp for kept in nodes]
        spans = qmp.each(sockets, moment.take)
        for at in range(0, len(nodes), AT_ONCE):
            _settle(nodes[at : at + AT_ONCE], cluster, into)
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


def _warm(memories: Iterable[Path]) -> None:
    """Read what nodes are clones of: a page that none of them has touched would be read in the pause."""
    for memory in memories:
        with contextlib.suppress(OSError), memory.open("rb") as file:
            while file.read(1 << 22):
                pass


@contextlib.contextmanager
def guarded(cluster: ClusterDir, numbers: Sequence[int]) -> Iterator[None]:
    """A process of its own lets the nodes go on when this block does not end well, or we are killed in it."""
    log = cluster.root / "guard.log"
    argv = [sys.executable, "-I", str(GUARD), str(cluster.root)]
    argv += [str(cluster.node(number).qmp) for number in numbers]
    guard = proc.spawn(argv, log, env=helper.environment(cluster.root), listens=True)
    assert guard.stdin
    try:
        yield
        guard.stdin.write(b"done\n")
    finally:
        guard.stdin.close()
        guard.wait()


class _Moment:
    """What all nodes do together: none is saved before all are stopped, none goes on before all are saved."""

    def __init__(self, numbers: Sequence[int], into: CheckpointDir) -> None:
        self._numbers = numbers
        self._into = into
        self._mirrored = asyncio.Barrier(len(numbers))
        self._stopped = asyncio.Barrier(len(numbers))
        self._saved = asyncio.Barrier(len(numbers))

    async def take(self, index: int, monitor: qmp.Monitor) -> tuple[float, float]:
        """Save one node; when it stopped and when it went on."""
        number = self._numbers[index]
        await _mirror(monitor, self._into.disk(number))
        await self._mirrored.wait()
        await monitor.execute("stop")
        await self._stopped.wait()
        await _end_mirror(monitor)  # before QEMU gives up the disk, at the end of a migration
        await monitor.save(self._into.stream(number), shared_ram=False)
        await self._saved.wait()
        await monitor.execute("cont")
        return monitor.events("STOP")[0]["at"], monitor.events("RESUME")[-1]["at"]


async def _mirror(monitor: qmp.Monitor, target: Path) -> None:
    """Copy the disk while the node runs, and go on copying what it writes."""
    words = {"sync": "top", "format": "qcow2", "job-id": JOB}
    await monitor.execute("drive-mirror", device="root", target=str(target), **words)
    while not await _job(monitor):
        await asyncio.sleep(0.005)


async def _end_mirror(monitor: qmp.Monitor) -> None:
    """End the mirror, so that the copy is the disk as it is at this moment."""
    await _job(monitor)
    await monitor.execute("block-job-cancel", device=JOB)
    while await monitor.execute("query-block-jobs"):
        await asyncio.sleep(0.002)
    ended = monitor.events("BLOCK_JOB_COMPLETED")
    if not ended or "error" in ended[-1]["data"]:
        raise UserError(
            f"{monitor.name}: its disk could not be copied", "look whether the disk of the host is full"
        )


async def _job(monitor: qmp.Monitor) -> bool:
    """Whether the mirror has caught up. UserError when it has failed: then it is gone."""
    jobs = await monitor.execute("query-block-jobs")
    if not jobs:
        raise UserError(
            f"{monitor.name}: its disk could not be copied", "look whether the disk of the host is full"
        )
    return bool(jobs[0]["ready"])


def _settle(nodes: Sequence[Kept], cluster: ClusterDir, into: CheckpointDir) -> None:
    """Turn streams into memory files and states, and put the disks over the image alone."""
    scratch = [cluster.scratch(kept.node.number) for kept in nodes]

    async def load_and_save(index: int, monitor: qmp.Monitor) -> None:
        number = nodes[index].node.number
        await monitor.load(into.stream(number), shared_ram=False)
        into.stream(number).unlink()
        await monitor.save(into.state(number), shared_ram=True)

    try:
        for kept, own in zip(nodes, scratch, strict=True):
            _start_scratch(kept, own, into)
        qmp.each([own.qmp for own in scratch], load_and_save)
    finally:
        for own in scratch:
            records.end(own.state)
            files.remove(own.root)


@signals.whole
def _start_scratch(kept: Kept, own: NodeDir, into: CheckpointDir) -> None:
    """A machine like the node's that never runs and is connected to nothing."""
    number = kept.node.number
    image = kept.boot.image
    proc.output(["qemu-img", "rebase", "-F", "qcow2", "-b", str(image), str(into.disk(number))])
    records.end(own.state)  # of a saver that was killed a moment ago
    files.remove(own.root)
    own.root.mkdir()
    qemu.make_disk(into.disk(number), own.disk, own.root)
    extra = f"{kept.boot.extra} -incoming defer -S"
    boot = replace(kept.boot, frozen=Frozen(into.ram(number), None), extra=extra)
    nics = [_loose(nic, tap=bool(boot.apart)) for nic in kept.nics]
    words = qemu.sandboxed(qemu.argv(boot, kept.node, nics, own, sockets=unix_sockets.HERE))
    command = unix_sockets.beside(own.root, [*boot.apart, *proc.MORTAL, *words])
    process = proc.spawn(command, own.qemu_log, env=helper.environment(own.root.parent))
    records.write(own.state, ProcessRecord.at(Mark.of(process.pid)))


def _loose(nic: Nic, *, tap: bool) -> Nic:
    """The same NIC, with nobody at the other end."""
    return replace(nic, forwards=()) if isinstance(nic, UserNic) else loose(nic.net, nic.mac, tap=tap)
