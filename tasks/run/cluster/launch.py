"""a plan ──start──> nodes that answer: the steps of a start, and of adding nodes

Until the predecessor is ended nothing is touched that somebody uses. After that, what a step made is undone
when the start fails.
"""

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.base import files, progress
from tasks.base.errors import UserError
from tasks.base.paths import NodeDir
from tasks.build.credentials import keys
from tasks.definitions.schema import Node
from tasks.run.cluster import checks, summary
from tasks.run.cluster.ending import stop_running
from tasks.run.cluster.plan import Plan, with_free_ports
from tasks.run.cluster.steps import StartStep, carry_out
from tasks.run.kubernetes import kube_context
from tasks.run.net.protocol import NetBackend
from tasks.run.node import boot, checkpoint, container_layers, golden, identity, kinds, snapshot, watch
from tasks.run.node.protocol import Boot, Layers, NodeBackend, NodeRun
from tasks.run.running import state
from tasks.run.running.cluster import locked, running
from tasks.run.running.reach import ssh_command
from tasks.run.running.state import ClusterRecord
from tasks.run.services import dns, fakenet


@dataclass
class Launch:
    """A start in progress: its plan, the backends that carry it out, and the results of the steps so far."""

    plan: Plan
    machines: NodeBackend
    nets: NetBackend
    snapshots: Mapping[snapshot.Shape, Path] = field(default_factory=dict)
    layers: Layers | None = None  # what containers are made from, if there are any
    runs: Sequence[NodeRun] = ()
    authorized: str = ""  # the public keys that may log in, one a line


def start(plan: Plan, machines: NodeBackend = kinds.BACKEND, nets: NetBackend | None = None) -> None:
    """Replace the cluster of this name by a new one and wait until every node answers.

    Kubeconfigs that had a context of the old one get one of the new one. `machines` and `nets` carry the plan
    out: by default those of each node's kind, and the backend that the plan names.

    Raises UserError with what keeps the cluster from starting, then the old one runs on; or with the nodes
    that did not come up, then nothing is left running unless `keep` is set.
    """
    launch = Launch(plan, machines, nets or plan.backend)
    carry_out(BEFORE, launch)
    contexts = kube_context.wanted(plan.workspace, plan.settings.name)
    with locked(plan.workspace, plan.settings.name):
        began = time.monotonic()
        carry_out(REPLACE, launch)
        carry_out(BRING_UP, launch, keep=plan.settings.keep)
    for line in summary.lines(plan, launch.nets, time.monotonic() - began):
        progress.say(line)
    if plan.settings.kubernetes:
        kube_context.join(plan.workspace, plan.settings.name, contexts)


def add(plan: Plan, machines: NodeBackend = kinds.BACKEND, nets: NetBackend | None = None) -> None:
    """Add the plan's nodes to the running cluster. UserError as of `start`; the other nodes run on."""
    launch = Launch(plan, machines, nets or plan.backend)
    carry_out(BEFORE, launch)
    with locked(plan.workspace, plan.settings.name):
        began = time.monotonic()
        carry_out(ADD, launch, keep=plan.settings.keep)
    names = ", ".join(node.name for node in plan.nodes)
    progress.say(f"{names} added in {time.monotonic() - began:.1f} s")


def _check(launch: Launch) -> None:
    checks.early(launch.plan, launch.machines, launch.nets)
    launch.authorized = identity.authorized_keys(launch.plan.workspace)


def _take_snapshots(launch: Launch) -> None:
    plan = launch.plan
    if plan.boot:
        launch.snapshots = golden.prepare(plan.settings, plan.workspace, plan.boot, plan.shapes)


def _take_layers(launch: Launch) -> None:
    plan = launch.plan
    if kinds.containers(plan.nodes):
        launch.layers = container_layers.prepare(plan.settings, plan.workspace)


def _end_predecessor(launch: Launch) -> None:
    stop_running(launch.plan.directory)


def _check_again(launch: Launch) -> None:
    checks.late(launch.plan, launch.machines, launch.nets)


def _move_and_check(launch: Launch) -> None:
    launch.plan = with_free_ports(launch.plan, launch.nets)
    _check_again(launch)


def _record(launch: Launch) -> None:
    plan = launch.plan
    plan.directory.root.mkdir(mode=0o700, parents=True)
    record = ClusterRecord(
        settings=plan.settings,
        ports=plan.ports,
        accel=plan.accel,
        made_of=boot.artifact_hashes(plan.settings, plan.workspace) if plan.boot else {},
        started=int(time.time()),
    )
    state.write(plan.directory, record)


def _forget(launch: Launch) -> None:
    stop_running(launch.plan.directory)
    dns.refresh_if_possible(launch.plan.workspace)  # a cluster that is gone needs no names


def _connect(launch: Launch) -> None:
    plan = launch.plan
    launch.nets.up(plan.directory, plan.nodes, plan.settings.prefix, plan.ports)


def _disconnect(launch: Launch) -> None:
    launch.nets.down(launch.plan.directory)


def _unplug(launch: Launch) -> None:
    directory = launch.plan.directory
    for node in launch.plan.nodes:
        launch.nets.unplug(directory, node.number, launch.plan.ports)
    if not running(directory):
        stop_running(directory)
    dns.refresh_if_possible(launch.plan.workspace)  # nodes that are gone have no names


def _bring_keys(launch: Launch) -> None:
    """Make the host keys that are missing. A checkpoint has its nodes' keys, and its cluster's secret."""
    plan = launch.plan
    workspace, name = plan.workspace, plan.settings.name
    if plan.checkpoint:
        record = plan.checkpoint.record
        identity.adopt(workspace, name, record.host_keys)
        if record.choice and not workspace.choice(name).exists():  # for nodes that are added
            files.write_json(workspace.choice(name), {"choice": record.choice})
        if record.secret:
            keys.put(workspace.secret(name), dict(record.secret))
    else:
        for node in plan.nodes:
            identity.host_key(workspace, name, node)
    identity.write_known_hosts(workspace, name)


def _start_nodes(launch: Launch) -> None:
    runs: list[NodeRun] = []
    launch.runs = runs
    for node in launch.plan.nodes:
        runs.append(_start_node(launch, node))
    try:
        snapshot.thaw(runs)
    except UserError as error:
        for run in runs:
            if run.process.poll() is not None:
                log = run.directory.qemu_log.read_text(errors="replace").strip().splitlines()
                reason = log[-1] if len(log) > 1 else "it printed nothing"
                raise UserError(f"QEMU of {run.node.name} ended: {reason}") from error
        raise


def _start_node(launch: Launch, node: Node) -> NodeRun:
    plan = launch.plan
    nics = launch.nets.nics(plan.directory, node, plan.settings.prefix, plan.ports)
    inside = tuple(launch.nets.inside(plan.directory))
    own = replace(_boot_of(launch, node), inside=inside)
    return launch.machines.start(own, node, nics, plan.directory.node(node.number))


def _boot_of(launch: Launch, node: Node) -> Boot | Layers:
    """What a container is made from. Of a machine the node of a checkpoint, a clone, or a boot of its own."""
    plan, held = launch.plan, launch.plan.directory.held
    if node.kind == "container":
        assert launch.layers, "a step before has made them"
        return launch.layers
    assert plan.boot, "a node is a virtual machine"
    if plan.checkpoint:
        return plan.checkpoint.boot(plan.boot, node, held)
    disk = plan.boot.containers
    plain = replace(plan.boot, containers=files.held(disk, held)) if disk else plan.boot
    source = launch.snapshots.get(snapshot.shape_of(node))
    if source is None:
        if launch.snapshots:
            progress.say(
                f"{node.name} boots the ordinary way: no other node has its memory, CPUs and command line"
            )
        return replace(plain, iso=files.held(plain.iso, held) if plain.iso else None)
    return snapshot.thawing(plain, source, held)


def _end_nodes(launch: Launch) -> None:
    """End all nodes at once, but keep what their consoles printed."""
    plan = launch.plan
    places = [plan.directory.node(node.number) for node in plan.nodes]
    for node, place in zip(plan.nodes, places, strict=True):
        log = plan.workspace.root / "log" / f"{plan.settings.name}-{node.name}.console.log"
        log.unlink(missing_ok=True)
        if place.console_log.is_file():
            log.parent.mkdir(exist_ok=True)
            place.console_log.replace(log)

    def end(place: NodeDir) -> None:
        launch.machines.stop(place)
        with contextlib.suppress(OSError):  # the directory of the cluster is removed later
            files.remove(place.root)

    enders = [threading.Thread(target=end, args=[place]) for place in places]
    for ender in enders:
        ender.start()
    for ender in enders:
        ender.join()


def _name(launch: Launch) -> None:
    dns.bring_up(launch.plan.settings, launch.plan.workspace)


def _pretend(launch: Launch) -> None:
    fakenet.bring_up(launch.plan.settings, launch.plan.workspace)


def _wait(launch: Launch) -> None:
    plan = launch.plan

    def who(run: NodeRun) -> bytes:
        return identity.message(plan.workspace, plan.settings, run.node, launch.authorized)

    def ssh(run: NodeRun) -> tuple[str, int]:
        return launch.nets.ssh(plan.directory, run.node.number, plan.ports)

    with progress.Bar("nodes", len(launch.runs), unit="node") as bar:
        outcomes = watch.Watch(launch.runs, who, ssh).wait(plan.settings.timeout, bar.to)
    for outcome in outcomes:
        if outcome.failed_rc:
            names = ", ".join(outcome.failed_rc)
            progress.say(
                f"warning: {outcome.name}: failed in the guest: {names}\n{outcome.complaints}".rstrip()
            )
    lost = [outcome for outcome in outcomes if outcome.seconds is None]
    if lost:
        ended = [outcome for outcome in lost if watch.ENDED in outcome.why] or lost
        hint = (
            "the cluster is kept; `xc stop` ends it"
            if plan.settings.keep
            else f"their consoles: {plan.workspace.root / 'log'}; --keep leaves the nodes to look at"
        )
        text = "".join(f"  {outcome.name}: {outcome.why}" for outcome in ended[:4])
        raise UserError(f"{len(lost)} of {len(launch.runs)} nodes did not come up:\n{text.rstrip()}", hint)


def _wake(launch: Launch) -> None:
    """Give restored nodes the present time and new randomness."""
    plan = launch.plan

    def ssh(run: NodeRun, command: str) -> list[str]:
        at = launch.nets.ssh(plan.directory, run.node.number, plan.ports)
        return ssh_command(plan.workspace, plan.settings.name, at, run.node.number, [command])

    if plan.checkpoint:
        checkpoint.wake(launch.runs, ssh)


BEFORE = (
    StartStep("checks", _check),
    StartStep("golden snapshots", _take_snapshots),
    StartStep("layers of containers", _take_layers),
)
REPLACE = (
    StartStep("end of the running cluster", _end_predecessor),
    StartStep("ports and memory", _move_and_check),
)
_NODES = (
    StartStep("keys", _bring_keys),
    StartStep("nodes", _start_nodes, _end_nodes),
    StartStep("fake internet", _pretend),
    StartStep("names", _name),
    StartStep("answers of the nodes", _wait),
    StartStep("time and randomness", _wake),
)
BRING_UP = (StartStep("record", _record, _forget), StartStep("nets", _connect, _disconnect), *_NODES)
ADD = (StartStep("ports and memory", _check_again), StartStep("nets", _connect, _unplug), *_NODES)
