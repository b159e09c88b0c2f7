"""a running cluster ──checkpoint save NAME──> checkpoint/NAME/ ──checkpoint restore NAME──> a running cluster

All nodes are saved at one moment, and restored together: any number of times, also beside the original.
"""

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tasks.base import files, locks, output, progress, signals
from tasks.base.checkpoint_paths import CheckpointDir
from tasks.base.errors import UsageError, UserError, unknown
from tasks.base.node_names import node_name
from tasks.base.paths import ClusterDir, Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.project import actions
from tasks.project.project import Does, Project
from tasks.run.cluster import launch, plan
from tasks.run.inspect import status
from tasks.run.node import boot, checkpoint, golden, identity, node_state, saver
from tasks.run.node.checkpoint import Checkpoint
from tasks.run.running import absent
from tasks.run.running.cluster import Running, locked, running

ARGS = "save NAME | restore NAME [--as OTHER] | list [-o json] | rm NAME..."
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,40}")
ACTIONS = {
    "save": actions.Action(1, 1, ("o",)),
    "restore": actions.Action(1, 1, ("as", "o")),
    "list": actions.Action(options=("o",)),
    "rm": actions.Action(1, None),
}


def _checkpoint(project: Project) -> None:
    action, names = actions.action(project.words, ACTIONS)
    for name in names:
        if not NAME.fullmatch(name):
            raise UsageError(f"'{name}' cannot be the name of a checkpoint: use a-z, 0-9, '.', '_' and '-'")
    files.sweep(project.workspace.checkpoints)  # what killed ones left
    locks.sweep(project.workspace.checkpoints)
    if action == "save":
        _save(project, names[0])
    elif action == "restore":
        _restore(project, names[0])
    elif action == "list":
        _list(project)
    else:
        _remove(project, names)


def _save(project: Project, name: str) -> None:
    workspace, cluster = project.workspace, project.settings.name
    began = time.monotonic()
    with _locked(workspace, name), locked(workspace, cluster):
        if name in checkpoint.damaged(workspace):
            raise _damage(workspace, name)
        if checkpoint.find(workspace, name):
            raise UserError(f"checkpoint '{name}' already exists", f"remove it: xc checkpoint rm {name}")
        directory = workspace.cluster(cluster)
        settings, nodes = _running(workspace, cluster)
        _check_room(workspace, directory, nodes)
        with files.atomic(workspace.checkpoints / name, directory=True) as temp:
            temp.chmod(0o700)  # it holds all secrets of its nodes
            into = CheckpointDir(temp)
            paused = saver.save(_kept(workspace, settings, nodes), directory, into)
            _write_record(workspace, into, settings, nodes)
    saved = checkpoint.find(workspace, name)
    assert saved
    apparent, real = saved.sizes()
    if project.words.json:
        facts = {"name": name, "cluster": cluster, "nodes": len(nodes), "paused": round(paused, 3)}
        output.as_json({**facts, "bytes": real, "apparent_bytes": apparent})
    progress.say(
        f"checkpoint '{name}' of {len(nodes)} nodes in {time.monotonic() - began:.1f} s, "
        f"paused for {paused:.2f} s, {progress.amount(real)} on disk ({progress.amount(apparent)} apparent)"
    )


def _running(workspace: Workspace, name: str) -> tuple[Settings, list[Node]]:
    """What runs, and with which settings. UserError when it cannot be saved."""
    cluster = Running.find(workspace, name)
    alive = cluster.alive() if cluster else {}
    if not cluster or not alive:
        raise absent.error(workspace.run, name)
    dead = [number for number in cluster.numbers if number not in alive]
    if dead:
        raise UserError(
            f"these nodes do not run: {', '.join(map(node_name, dead))}",
            f"remove them first: xc scalein --name={name} {' '.join(map(str, dead))}",
        )
    record = cluster.record
    checkpoint.refuse_containers(cluster.nodes().values())
    settings = Settings(**{**record.settings.model_dump(), "accel": record.accel})
    if settings.net == "custom":
        raise UserError("a cluster with --net=custom cannot be saved", "start it with --net=bridge")
    now = boot.artifact_hashes(settings, workspace)
    changed = [part for part in now if record.made_of.get(part) != now[part]]
    if changed:
        raise UserError(
            f"these have changed since cluster '{name}' was started: {', '.join(changed)}",
            "nothing could restore this checkpoint; start the cluster again, then save it",
        )
    return settings, list(cluster.nodes().values())


def _kept(workspace: Workspace, settings: Settings, nodes: Sequence[Node]) -> list[saver.Kept]:
    plain, _ = golden.ordinary(settings, workspace)
    cluster = Running.get(workspace, settings.name)
    directory, ports = cluster.directory, cluster.ports
    return [
        saver.Kept(
            node,
            saver.with_iso(plain, directory, node),
            cluster.backend.nics(directory, node, settings.prefix, ports),
        )
        for node in nodes
    ]


def _check_room(workspace: Workspace, directory: ClusterDir, nodes: Sequence[Node]) -> None:
    """UserError when the disk cannot take it: memory in use, that of two nodes a second time, and disks."""
    resident = sorted((min(_resident(directory, node), node.mem << 20) for node in nodes), reverse=True)
    disks = sum(directory.node(node.number).disk.stat().st_size for node in nodes)
    needed = sum(resident) + sum(resident[: saver.AT_ONCE]) + disks
    free = shutil.disk_usage(workspace.root).free
    if needed > free:
        raise UserError(
            f"the checkpoint needs up to {progress.amount(needed)}, but only {progress.amount(free)} is free",
            f"free some space below {workspace.root}, or remove checkpoints: xc checkpoint list",
        )


def _resident(directory: ClusterDir, node: Node) -> int:
    pid = running(directory).get(node.number)
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) << 10


def _write_record(
    workspace: Workspace, into: CheckpointDir, settings: Settings, nodes: Sequence[Node]
) -> None:
    directory = workspace.cluster(settings.name)
    states = {node.number: node_state.read(directory.node(node.number)) for node in nodes}
    shown = {number: state.iso for number, state in states.items()}
    isos = {number: path.with_suffix(".iso") for number, path in shown.items() if path}
    for iso in set(isos.values()):
        if iso.is_file():
            files.keep(iso, into.root / iso.name)
    disks = {number: state.containers for number, state in states.items() if state.containers}
    for disk in set(disks.values()):
        files.keep(disk, into.root / disk.name)
    record = checkpoint.CheckpointRecord(
        saved=int(time.time()),
        settings=settings.model_dump(mode="json"),
        accel=settings.accel,
        needs=checkpoint.requirements(settings, workspace, nodes),
        host_keys=identity.host_keys(workspace, settings.name, nodes),
        choice=files.read_json(workspace.choice(settings.name)).get("choice"),
        secret=files.read_json(workspace.secret(settings.name)) if settings.kubernetes else None,
        nodes=tuple(
            checkpoint.SavedNode(
                node=node,
                iso=isos[node.number].name if isos.get(node.number, into.root / "no").is_file() else None,
                containers=disks[node.number].name if node.number in disks else None,
                iso_disk=str(shown[node.number] or "").endswith(".qcow2"),
            )
            for node in nodes
        ),
        files=checkpoint.contents(into),
    )
    files.write_json(into.record, record.model_dump(mode="json"))


def _restore(project: Project, name: str) -> None:
    with restorable(project.workspace, name, lambda saved: _target(project, saved)) as start:
        launch.start(start)
    if project.words.json:
        output.as_json(status.facts(project.workspace, start.settings.name))


@contextlib.contextmanager
def restorable(workspace: Workspace, name: str, target: Callable[[Checkpoint], str]) -> Iterator[plan.Plan]:
    """The start of the cluster `target` from a checkpoint, which is not removed meanwhile.

    UserError when there is none, or when what it needs is not as it was.
    """
    with _locked(workspace, name):
        saved = _find(workspace, name)
        cluster = target(saved)
        differs = saved.differs(workspace)
        if differs:
            lines = "".join(f"\n  {part}: {advice}" for part, advice in differs.items())
            raise UserError(
                f"checkpoint '{name}' cannot be restored, because these are not the same "
                f"as when it was saved:{lines}",
                f"build the same again; or remove the checkpoint: xc checkpoint rm {name}",
            )
        yield plan.to_restore(plan.survey(saved.settings(cluster), workspace), saved)


def _target(project: Project, saved: Checkpoint) -> str:
    """The cluster to restore to: another one only by --as, so that nobody replaces a cluster by mistake."""
    other = project.words.options.get("as")
    name = project.words.settings.get("name", saved.cluster)
    if other is None and name != saved.cluster:
        raise UsageError(
            f"checkpoint '{saved.name}' was saved from cluster '{saved.cluster}'",
            f"to restore it as '{name}': --as={name}",
        )
    try:
        return Settings(name=other or saved.cluster).name
    except ValueError:
        raise UsageError(f"--as: '{other}' cannot be the name of a cluster") from None


def _list(project: Project) -> None:
    checkpoints = [_describe(project.workspace, each) for each in checkpoint.every(project.workspace)]
    for name in (broken := checkpoint.damaged(project.workspace)):
        progress.say(f"warning: {_damage(project.workspace, name).message}: xc checkpoint rm {name}")
    if project.words.options.get("o"):
        output.as_json(checkpoints)
        return
    if not checkpoints and not broken:
        progress.say("there are no checkpoints; `xc checkpoint save NAME` makes one")
    for each in checkpoints:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(each["saved"]))
        sizes = f"{progress.amount(each['disk'])} on disk ({progress.amount(each['apparent'])} apparent)"
        usable = f"  differs: {', '.join(each['differs'])}" if each["differs"] else ""
        sys.stdout.write(
            f"{each['name']:<16} of {each['cluster']}  {len(each['nodes'])} nodes  {when}  {sizes}{usable}\n"
        )


def _describe(workspace: Workspace, saved: Checkpoint) -> dict[str, Any]:
    apparent, real = saved.sizes()
    return {
        "name": saved.name,
        "cluster": saved.cluster,
        "nodes": [node.name for node in saved.nodes],
        "saved": saved.record.saved,
        "apparent": apparent,
        "disk": real,
        "differs": sorted(saved.differs(workspace)),
    }


def _remove(project: Project, names: Sequence[str]) -> None:
    workspace = project.workspace
    broken = checkpoint.damaged(workspace)
    for name in names:
        if name not in broken:
            _find(workspace, name)
    for name in names:
        with _locked(workspace, name):
            _remove_one(workspace.checkpoints / name)
        progress.say(f"checkpoint '{name}' removed")


@signals.whole
def _remove_one(place: Path) -> None:
    # Clusters that were restored from it have their files open, and names of their own for the disks.
    gone = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    place.rename(gone)
    files.remove(gone)


def _find(workspace: Workspace, name: str) -> Checkpoint:
    saved = checkpoint.find(workspace, name)
    if saved is None and name in checkpoint.damaged(workspace):
        raise _damage(workspace, name)
    if saved is None:
        names = [each.name for each in checkpoint.every(workspace)]
        raise UserError(unknown("checkpoint", name, names), "see the checkpoints: xc checkpoint list")
    return saved


def _damage(workspace: Workspace, name: str) -> UserError:
    record = CheckpointDir(workspace.checkpoints / name).record
    what = "is damaged, or of another version" if record.exists() else "is missing"
    return UserError(
        f"checkpoint '{name}' cannot be used, its record {record} {what}", f"xc checkpoint rm {name}"
    )


def _locked(workspace: Workspace, name: str) -> AbstractContextManager[None]:
    lock = workspace.checkpoints / f".{name}.lock"
    return locks.locked(lock, wait=False, busy=f"another command works on checkpoint '{name}'")


DOES: Does = {"checkpoint": _checkpoint}
