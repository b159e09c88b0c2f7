"""kernel + image + size of nodes ──golden──> golden/<name>/{ram,state,disk.qcow2}, what nodes are cloned from

Overlays are no input: the snapshot is taken before a guest looks at them. A start makes a second one from it,
in which the overlays of its cluster are unpacked. Where there can be none, nodes boot the ordinary way, and a
line says why.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tasks.base import files, locks, proc, progress
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.engine import kit
from tasks.project.project import Project
from tasks.run.net import selection
from tasks.run.net.protocol import Ports
from tasks.run.node import accel, boot, kinds, nic_options, qemu, qmp, snapshot
from tasks.run.node.protocol import Boot
from tasks.run.node.snapshot import Shape

KEPT = 16  # snapshots, of any cluster; a topology may need three shapes, each once more with overlays
RECENT = 600  # seconds


class NoSnapshot(UserError):
    """Why there can be no snapshot of a shape; nodes boot the ordinary way then."""


def tasks(project: Project, disks: Iterable[Path]) -> kit.Tasks:
    """The snapshots that the cluster of the settings is cloned from.

    `disks` are the stamps of other disks that the cluster's nodes have.
    """
    workspace, settings = project.workspace, selection.decided(project.settings)
    program = proc.find(qemu.QEMU)
    deps = [workspace.stamp("kernel", settings.kernel), workspace.stamp("image", settings.image)]
    of_nodes = shapes(settings, settings.nodes())
    inputs = {
        "shapes": of_nodes,
        "qemu": [settings.machine, settings.kvm_opt, settings.accel, settings.net],
        "names": [settings.kernel, settings.image],
    }
    recipe = kit.Recipe(
        freeze,
        [project, of_nodes],
        deps=[*deps, *disks, *([Path(program)] if program else [])],
        inputs=inputs,
        code=(snapshot, boot, qemu, nic_options, qmp),
    )
    folders = [] if settings.cold else [folder(settings, workspace, shape) for shape in of_nodes]
    yield kit.task("golden", None, recipe, [place / "golden.json" for place in folders], also=folders)


def shapes(settings: Settings, nodes: Iterable[Node]) -> list[Shape]:
    """The shapes worth a snapshot: those of nodes without own settings, and those that several nodes have.

    All of them with Kubernetes, whose images give nodes sizes of their own. None where a user's program makes
    the NICs: a snapshot would have to have the same.
    """
    if settings.net == "custom":
        return []
    of_nodes = [(node, snapshot.shape_of(node)) for node in kinds.machines(nodes)]
    plain = {shape for node, shape in of_nodes if node == settings.plain_node(node.number)}
    counts = Counter(shape for _, shape in of_nodes)
    return [shape for shape in counts if settings.kubernetes or shape in plain or counts[shape] > 1]


def folder(settings: Settings, workspace: Workspace, shape: Shape) -> Path:
    """Where the snapshot of this shape is kept."""
    extra = [settings.machine, settings.kvm_opt]
    mark = "-tap" if settings.net == "bridge" else ""
    mark += "" if extra == ["pc", ""] else f"-{files.digest(extra)[:8]}"
    return workspace.root / "golden" / f"{settings.kernel}-{settings.image}-{shape.name}{mark}"


def freeze(project: Project, of_nodes: list[Shape]) -> None:
    """Freeze a guest just before it looks at the overlays"""
    if project.settings.cold:
        return
    settings = selection.decided(project.settings)
    if selection.of(settings).preflight((), Ports(settings.ssh_base, None)):
        return  # the start says what is missing
    plain, _ = ordinary(settings, project.workspace)
    for shape in of_nodes:
        with contextlib.suppress(NoSnapshot):  # the start says why
            _frozen(settings, project.workspace, plain, shape)


def ordinary(settings: Settings, workspace: Workspace) -> tuple[Boot, accel.Verdict]:
    """What an ordinary boot is made from, where loose machines run, and the accelerator."""
    plain, verdict = boot.cold(settings, workspace)
    backend = selection.of(settings)
    apart = () if backend.preflight((), Ports(settings.ssh_base, None)) else backend.inside(None)
    return replace(plain, apart=tuple(apart)), verdict


def prepare(
    settings: Settings, workspace: Workspace, plain: Boot, of_nodes: Sequence[Shape]
) -> Mapping[Shape, Path]:
    """The snapshots that nodes of these shapes are cloned from, overlays unpacked; made where they are not.

    A shape that there can be no snapshot of is missing in what is returned, and a line says why.
    """
    snapshots: dict[Shape, Path] = {}
    reasons = []
    for shape in of_nodes:
        try:
            snapshots[shape] = _frozen(settings, workspace, plain, shape)
        except NoSnapshot as error:
            reasons.append(str(error))
    for reason in dict.fromkeys(reasons):
        progress.say(f"no golden snapshot, nodes boot the ordinary way: {reason}")
    for shape, source in snapshots.items():
        try:
            snapshots[shape] = _unpacked(settings, plain, shape, source)
        except NoSnapshot as error:
            progress.say(f"every node unpacks the overlays itself: {error}")
    return snapshots


def _frozen(settings: Settings, workspace: Workspace, plain: Boot, shape: Shape) -> Path:
    """The snapshot of this shape, made if it is missing or outdated. NoSnapshot when it cannot be made."""
    place = folder(settings, workspace, shape)
    identity = snapshot.snapshot_id(plain, shape, boot.contents(settings, workspace))
    return _current(place, identity, lambda: snapshot.make(plain, shape, identity, place))


def _unpacked(settings: Settings, plain: Boot, shape: Shape, source: Path) -> Path:
    """The snapshot `source` after it has unpacked the cluster's ISO. NoSnapshot when that cannot be.

    Made from `source` in a moment when the ISO is another one: nodes need not unpack the same things each.
    """
    place = source.with_name(f"{source.name}@{settings.name}")
    iso = [plain.iso.stat().st_ino, plain.iso.stat().st_mtime_ns] if plain.iso else []
    identity = files.digest([files.read_json(source / "golden.json").get("key"), iso])
    return _current(place, identity, lambda: snapshot.unpack(plain, shape, identity, source, place))


def _current(place: Path, identity: str, make: Callable[[], object]) -> Path:
    """The snapshot at `place`; `make` makes it if there is none of this identity.

    What it could not make is not tried again. NoSnapshot says why.
    """
    with locks.locked(place.with_name(f"{place.name}.lock")):
        stamp = files.read_json(place / "golden.json")
        if stamp.get("key") == identity and "failed" in stamp:
            os.utime(place)
            raise NoSnapshot(str(stamp["failed"]))
        if stamp.get("key") == identity and snapshot.is_intact(place):
            os.utime(place)
            return place
        if stamp.get("key") == identity and "files" in stamp:  # an older version noted none
            progress.say(f"the golden snapshot {place} changed on the disk; it is made again")
        try:
            make()
        except UserError as error:
            files.write_json(place / "golden.json", {"key": identity, "failed": str(error)})
            raise NoSnapshot(str(error)) from error
    files.forget_old(place.parent, KEPT, RECENT)  # running clones do not need the names
    return place
