"""kernel + image + ISO ──start──> nodes that answer. The steps of a start, and of adding nodes."""

import time
from collections.abc import Sequence
from dataclasses import replace

from tasks.base import files, proc, progress
from tasks.base.errors import UserError
from tasks.build.credentials import keys
from tasks.definitions.schema import Node
from tasks.run.cluster.ending import remove_node, stop_running
from tasks.run.cluster.plan import Plan
from tasks.run.kubernetes import kube_context
from tasks.run.node import boot, checkpoint, identity, qemu, watch
from tasks.run.node import snapshot as frozen
from tasks.run.node.protocol import Boot, NodeRun
from tasks.run.running import state
from tasks.run.running.cluster import locked, running
from tasks.run.running.reach import ssh_command
from tasks.run.running.state import ClusterRecord
from tasks.run.services import dns


def start(made: Plan) -> None:
    """Replace the cluster of this name by a new one and wait until every node answers.

    Kubeconfigs that had a context of the old one get one of the new one.

    Raises UserError with the nodes that did not come up; then nothing is left running unless `keep` is set.
    """
    began = time.monotonic()
    contexts = kube_context.joined(made.workspace, made.settings.name)
    with locked(made.workspace, made.settings.name):
        stop_running(made.directory)
        _preflight(made)
        made.directory.root.mkdir(mode=0o700, parents=True)
        record = ClusterRecord(
            settings=made.settings,
            ports=made.ports,
            accel=made.boot.accel,
            made_of=boot.made_of(made.settings, made.workspace),
            started=int(time.time()),
        )
        state.write(made.directory, record)
        _bring_up(made)
    progress.say(_summary(made, time.monotonic() - began))
    if made.settings.kubernetes:
        kube_context.join(made.workspace, made.settings.name, contexts)


def add(made: Plan) -> None:
    """Add the plan's nodes to the running cluster."""
    began = time.monotonic()
    with locked(made.workspace, made.settings.name):
        _preflight(made)
        _bring_up(made)
    names = ", ".join(each.name for each in made.nodes)
    progress.say(f"{names} added in {time.monotonic() - began:.1f} s")


def _preflight(made: Plan) -> None:
    missing = qemu.BACKEND.preflight(made.boot, made.nodes) + made.backend.preflight(made.nodes, made.ports)
    missing += dns.preflight(made.settings, made.workspace)
    if missing:
        raise UserError("this cluster cannot start here:\n" + "\n".join(f"  {line}" for line in missing))


def _bring_up(made: Plan) -> None:
    """Nets, nodes, wait; whatever ends this early undoes it."""
    with proc.interruptible():
        try:
            made.backend.up(made.directory, made.nodes, made.settings.prefix, made.ports)
            authorized = identity.authorized_keys(made.workspace)
            _keys(made)
            runs = [_start_node(made, each) for each in made.nodes]
            _thaw(runs)
            dns.bring_up(made.settings, made.workspace)
            _wait(made, runs, authorized)
            if made.saved:
                _wake(made, runs)
        except BaseException:
            if not made.settings.keep:
                _undo(made)
            raise


def _thaw(runs: Sequence[NodeRun]) -> None:
    try:
        frozen.thaw(runs)
    except UserError as error:
        for run in runs:
            if run.process.poll() is not None:
                log = run.directory.qemu_log.read_text(errors="replace").strip().splitlines()
                said = log[-1] if len(log) > 1 else "it said nothing"
                raise UserError(f"QEMU of {run.node.name} ended: {said}") from error
        raise


def _keys(made: Plan) -> None:
    """Make host keys that are missing; nodes of a checkpoint have theirs, and the secret of their cluster."""
    workspace, name = made.workspace, made.settings.name
    if made.saved:
        identity.adopt(workspace, name, made.saved.record["host_keys"])
        if made.saved.record["choice"] and not workspace.choice(name).exists():  # for nodes that are added
            files.write_json(workspace.choice(name), {"choice": made.saved.record["choice"]})
        if made.saved.record.get("secret"):
            keys.put(workspace.secret(name), made.saved.record["secret"])
    else:
        for each in made.nodes:
            identity.host_key(workspace, name, each)
    identity.write_known_hosts(workspace, name)


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
        stop_running(made.directory)
    dns.refresh_if_possible(made.workspace)


def _start_node(made: Plan, each: Node) -> NodeRun:
    nics = made.backend.nics(made.directory, each, made.settings.prefix, made.ports)
    where = replace(_boot_of(made, each), inside=tuple(made.backend.inside(made.directory)))
    return qemu.BACKEND.start(where, each, nics, made.directory.node(each.number))


def _boot_of(made: Plan, each: Node) -> Boot:
    """The node of a checkpoint; a clone where there is a snapshot of its shape; else a boot of its own."""
    if made.saved:
        return made.saved.boot(made.boot, each, made.directory.held)
    disk = made.boot.containers
    plain = replace(made.boot, containers=files.held(disk, made.directory.held)) if disk else made.boot
    snapshot = made.snapshots.get(frozen.shape_of(each))
    if snapshot is None:
        if made.snapshots:
            progress.say(f"{each.name} is the only one of its memory, CPUs and command line: it boots cold")
        iso = plain.iso
        return replace(plain, iso=files.held(iso, made.directory.held) if iso else None)
    return frozen.thawing(plain, snapshot, made.directory.held)


def _wait(made: Plan, runs: Sequence[NodeRun], authorized: str) -> None:
    def who(run: NodeRun) -> bytes:
        return identity.message(made.workspace, made.settings, run.node, authorized)

    def ssh(run: NodeRun) -> tuple[str, int]:
        return made.backend.ssh(made.directory, run.node.number, made.ports)

    with progress.Bar("nodes", len(runs), unit="node") as bar:
        outcomes = watch.Watch(runs, who, ssh).wait(made.settings.timeout, bar.to)
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


def _wake(made: Plan, runs: Sequence[NodeRun]) -> None:
    def ssh(run: NodeRun, command: str) -> list[str]:
        at = made.backend.ssh(made.directory, run.node.number, made.ports)
        return ssh_command(made.workspace, made.settings.name, at, run.node.number, [command])

    checkpoint.wake(runs, ssh)


def _summary(made: Plan, seconds: float) -> str:
    of_nets = made.backend.processes(made.directory).values()
    real = sum(proc.real_memory(pid) for pid in (*running(made.directory).values(), *of_nets) if pid) / 1024
    asked = sum(each.mem for each in made.nodes)
    return (
        f"{len(made.nodes)} nodes {'restored ' if made.saved else ''}in {seconds:.1f} s, "
        f"accel={made.boot.accel} ({made.why_accel}), net={made.settings.net} ({made.why_net}), "
        f"{real:.0f} MiB real memory ({asked} MiB configured), "
        f"{progress.amount(progress.downloaded())} downloaded"
    )
