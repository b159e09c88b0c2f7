"""kernel + image + ISO ──start──> nodes that answer. The steps of a start, a stop, and adding nodes."""

import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from tasks import golden, net
from tasks.lib import files, identity, proc, progress
from tasks.lib.errors import UserError
from tasks.lib.model import Node
from tasks.lib.paths import ClusterDir, Workspace
from tasks.lib.settings import Settings
from tasks.node import Boot, NodeRun, boot, qemu, watch
from tasks.node import golden as frozen

SHIFT = 1000  # between the forwarded ports of two clusters
MOST_PORT = 60000


@dataclass(frozen=True)
class Plan:
    """A start, decided before anything is touched."""

    settings: Settings
    workspace: Workspace
    boot: Boot  # an ordinary one
    why_accel: str
    snapshots: Mapping[frozen.Shape, Path]  # what nodes are cloned from
    nodes: tuple[Node, ...]
    ports: net.Ports

    @property
    def directory(self) -> ClusterDir:
        """Where the cluster lives."""
        return self.workspace.cluster(self.settings.name)


def plan(settings: Settings, workspace: Workspace, nodes: tuple[Node, ...] | None = None) -> Plan:
    """Decide everything about a start from settings and artifacts."""
    plain, why = boot.cold(settings, workspace)
    chosen = nodes or settings.nodes()
    wanted = sum(node.smp for node in {*chosen, *settings.nodes()})
    plain = replace(plain, crowded=wanted > (os.cpu_count() or 1))
    shapes = [] if settings.cold else golden.wanted(settings, chosen)
    found = {shape: golden.ensure(settings, workspace, plain, shape) for shape in shapes}
    snapshots = {shape: place for shape, place in found.items() if isinstance(place, Path)}
    for reason in {reason for reason in found.values() if isinstance(reason, str)}:
        progress.say(f"no golden snapshot, nodes boot the ordinary way: {reason}")
    for shape, source in snapshots.items():
        unpacked = golden.with_overlays(settings, plain, shape, source)
        if isinstance(unpacked, str):
            progress.say(f"every node unpacks the overlays itself: {unpacked}")
        else:
            snapshots[shape] = unpacked
    return Plan(settings, workspace, plain, why, snapshots, chosen, _ports(settings, workspace))


def start(made: Plan) -> None:
    """Replace the cluster of this name by a new one and wait until every node answers.

    Raises UserError with the nodes that did not come up; then nothing is left running unless `keep` is set.
    """
    began = time.monotonic()
    with files.locked(made.directory.lock, wait=False, busy=_busy(made.settings.name)):
        stop_running(made.directory, made.settings.net)
        _preflight(made)
        made.directory.root.mkdir(parents=True)
        files.write_json(
            made.directory.state,
            {
                "settings": made.settings.model_dump(mode="json"),
                "ports": vars(made.ports),
                "accel": made.boot.accel,
                "started": int(time.time()),
            },
        )
        _bring_up(made)
    progress.say(_summary(made, time.monotonic() - began))


def add(made: Plan) -> None:
    """Add the plan's nodes to the running cluster."""
    began = time.monotonic()
    with files.locked(made.directory.lock, wait=False, busy=_busy(made.settings.name)):
        _preflight(made)
        _bring_up(made)
    names = ", ".join(each.name for each in made.nodes)
    progress.say(f"{names} added in {time.monotonic() - began:.1f} s")


def stop(workspace: Workspace, name: str) -> bool:
    """Stop the cluster and remove all it left. Whether there was one; a cluster that is not there is fine."""
    directory = workspace.cluster(name)
    with files.locked(directory.lock, wait=False, busy=_busy(name)):
        backend = files.read_json(directory.state).get("settings", {}).get("net", "userspace")
        return stop_running(directory, backend)


def stop_running(directory: ClusterDir, backend: str) -> bool:
    """End every node at once, then the nets, then remove the directory."""
    if not directory.root.exists():
        return False
    folders = sorted(directory.root.glob("vm-*"))
    enders = [
        threading.Thread(target=remove_node, args=[directory, int(folder.name[3:])]) for folder in folders
    ]
    for ender in enders:
        ender.start()
    for ender in enders:
        ender.join()
    net.get(backend).down(directory)
    files.remove(directory.root)
    return True


def remove_node(directory: ClusterDir, number: int) -> None:
    """End one node and remove what it left."""
    own = directory.node(number)
    for pidfile in own.root.glob("*.window"):
        proc.kill_recorded(files.read_json(pidfile))
    qemu.BACKEND.stop(own)
    files.remove(own.root)


def running(directory: ClusterDir) -> dict[int, int]:
    """The nodes that run: number -> pid. Found out each time, never remembered."""
    numbers = [int(folder.name[3:]) for folder in sorted(directory.root.glob("vm-*"))]
    return {number: pid for number in numbers if (pid := qemu.BACKEND.pid(directory.node(number)))}


def _busy(name: str) -> str:
    return f"another start or stop of cluster '{name}' is under way"


def _ports(settings: Settings, workspace: Workspace) -> net.Ports:
    """The running cluster's ports, else those asked for.

    A cluster by another name than the usual one moves on to a range that nobody uses.
    """
    saved = files.read_json(workspace.cluster(settings.name).state).get("ports")
    if saved:
        return _shifted(settings, int(saved["ssh"]) - settings.ssh_base)
    others = [other for other in workspace.run.glob("*/cluster.json") if other.parent.name != settings.name]
    taken = {int(files.read_json(other).get("ports", {}).get("ssh", 0)) for other in others}
    usual = Settings.model_fields["name"].default, Settings.model_fields["ssh_base"].default
    shift = 0
    while settings.ssh_base + shift + SHIFT < MOST_PORT:
        ports = _shifted(settings, shift)
        moves = settings.name != usual[0] and settings.ssh_base == usual[1]
        if ports.ssh not in taken and not (
            moves and net.get(settings.net).preflight(settings.nodes(), ports)
        ):
            return ports
        shift += SHIFT
    return _shifted(settings, 0)


def _shifted(settings: Settings, shift: int) -> net.Ports:
    return net.Ports(settings.ssh_base + shift, settings.telnet_base + shift if settings.telnet else None)


def _preflight(made: Plan) -> None:
    backend = net.get(made.settings.net)
    missing = qemu.BACKEND.preflight(made.boot, made.nodes) + backend.preflight(made.nodes, made.ports)
    if missing:
        raise UserError("this cluster cannot start here:\n" + "\n".join(f"  {line}" for line in missing))


def _bring_up(made: Plan) -> None:
    """Nets, nodes, wait; whatever ends this early undoes it."""
    old = (
        signal.signal(signal.SIGTERM, _interrupt)
        if threading.current_thread() is threading.main_thread()
        else None
    )
    try:
        backend = net.get(made.settings.net)
        backend.up(made.directory, {n for each in made.nodes for n in each.nets})
        authorized = identity.authorized_keys(made.workspace)
        for each in made.nodes:
            identity.host_key(made.workspace, made.settings.name, each)
        identity.write_known_hosts(made.workspace, made.settings.name)
        runs = [_start_node(made, backend, each) for each in made.nodes]
        frozen.thaw(runs)
        _wait(made, runs, authorized)
    except BaseException:
        if not made.settings.keep:
            _undo(made)
        raise
    finally:
        if old is not None:
            signal.signal(signal.SIGTERM, old)


def _interrupt(_: int, __: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)  # ends whatever runs, an event loop too, as Ctrl-C does


def _undo(made: Plan) -> None:
    for each in made.nodes:
        own = made.directory.node(each.number)
        kept = made.workspace.root / "log" / f"{made.settings.name}-{each.name}.console.log"
        kept.unlink(missing_ok=True)
        if own.console_log.is_file():
            kept.parent.mkdir(exist_ok=True)
            own.console_log.replace(kept)
        remove_node(made.directory, each.number)
    if not running(made.directory):
        stop_running(made.directory, made.settings.net)


def _start_node(made: Plan, backend: net.NetBackend, each: Node) -> NodeRun:
    nics = backend.nics(made.directory, each, made.settings.prefix, made.ports)
    return qemu.BACKEND.start(_boot_of(made, each), each, nics, made.directory.node(each.number))


def _boot_of(made: Plan, each: Node) -> Boot:
    """A clone where there is a snapshot of the node's shape, else a boot of its own."""
    snapshot = made.snapshots.get(frozen.shape_of(each))
    if snapshot is None:
        if made.snapshots:
            progress.say(f"{each.name} is the only one of its memory, CPUs and command line: it boots cold")
        return made.boot
    return frozen.thawing(made.boot, snapshot, made.directory.root)


def _wait(made: Plan, runs: Sequence[NodeRun], authorized: str) -> None:
    def who(run: NodeRun) -> bytes:
        return identity.message(made.workspace, made.settings, run.node, authorized)

    def ssh_port(run: NodeRun) -> int:
        return made.ports.ssh + run.node.number

    with progress.Bar("nodes", len(runs), unit="node") as bar:
        outcomes = watch.Watch(runs, who, ssh_port).wait(made.settings.timeout, bar.to)
    for outcome in outcomes:
        if outcome.failed_rc:
            progress.say(f"warning: {outcome.name}: failed in the guest: {', '.join(outcome.failed_rc)}")
    lost = [outcome for outcome in outcomes if outcome.seconds is None]
    if lost:
        told = [outcome for outcome in lost if "QEMU ended" in outcome.why] or lost
        where = (
            "the cluster is kept; `xc stop` ends it"
            if made.settings.keep
            else f"their consoles: {made.workspace.root / 'log'}; --keep leaves the nodes to look at"
        )
        text = "".join(f"  {outcome.name}: {outcome.why}" for outcome in told[:4])
        raise UserError(f"{len(lost)} of {len(runs)} nodes did not come up:\n{text.rstrip()}", where)


def _summary(made: Plan, seconds: float) -> str:
    pids = [*running(made.directory).values(), *net.get(made.settings.net).pids(made.directory)]
    real = sum(_pss(pid) for pid in pids) / 1024
    asked = sum(each.mem for each in made.nodes)
    return (
        f"{len(made.nodes)} nodes in {seconds:.1f} s, accel={made.boot.accel} ({made.why_accel}), "
        f"{real:.0f} MiB real memory ({asked} MiB configured), "
        f"{progress.amount(progress.downloaded())} downloaded"
    )


def _pss(pid: int) -> int:
    """KiB of memory of a process, pages shared with others counted in part."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
