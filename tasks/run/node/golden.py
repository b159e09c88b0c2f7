"""kernel + image + size of nodes ──golden──> golden/<name>/{ram,state,disk.qcow2}, what nodes are cloned from

Overlays are no input: the snapshot is taken before a guest looks at them. Where it cannot be made, nodes boot
the ordinary way, and a line says why.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.engine import kit
from tasks.project.project import Project
from tasks.run.net import selection
from tasks.run.net.protocol import Ports
from tasks.run.node import boot, qemu, qmp, snapshot
from tasks.run.node.protocol import Boot

KEPT = 16  # snapshots, of any cluster; a topology may need three shapes, each once more with overlays
RECENT = 600  # seconds


def tasks(project: Project, disks: Iterable[Path]) -> kit.Tasks:
    """The snapshots that the cluster of the settings is cloned from.

    `disks` are the stamps of other disks that the cluster's nodes have.
    """
    workspace, settings = project.workspace, selection.decided(project.settings)
    program = proc.find(qemu.QEMU)
    deps = [workspace.stamp("kernel", settings.kernel), workspace.stamp("image", settings.image)]
    shapes = wanted(settings, settings.nodes())
    inputs = {
        "shapes": shapes,
        "qemu": [settings.machine, settings.kvm_opt, settings.accel, settings.net],
        "names": [settings.kernel, settings.image],
    }
    recipe = kit.Recipe(
        freeze,
        [project, shapes],
        deps=[*deps, *disks, *([Path(program)] if program else [])],
        inputs=inputs,
        code=(snapshot, boot, qemu, qmp),
    )
    folders = [] if settings.cold else [folder(settings, workspace, shape) for shape in shapes]
    yield kit.task("golden", None, recipe, [place / "golden.json" for place in folders], also=folders)


def wanted(settings: Settings, nodes: Iterable[Node]) -> list[snapshot.Shape]:
    """The shapes worth a snapshot: those of nodes without own settings, and those that several nodes have.

    All of them with Kubernetes, whose images give nodes sizes of their own. None where a user's program makes
    the NICs: a snapshot would have to have the same.
    """
    if settings.net == "custom":
        return []
    shapes = [snapshot.shape_of(node) for node in nodes]
    plain = {snapshot.shape_of(node) for node in nodes if node == settings.plain_node(node.number)}
    return [
        shape
        for shape in dict.fromkeys(shapes)
        if settings.kubernetes or shape in plain or shapes.count(shape) > 1
    ]


def folder(settings: Settings, workspace: Workspace, shape: snapshot.Shape) -> Path:
    """Where the snapshot of this shape is kept."""
    extra = [settings.machine, settings.kvm_opt]
    mark = "-tap" if settings.net == "bridge" else ""
    mark += "" if extra == ["pc", ""] else f"-{files.digest(extra)[:8]}"
    return workspace.root / "golden" / f"{settings.kernel}-{settings.image}-{shape.name}{mark}"


def freeze(project: Project, shapes: list[snapshot.Shape]) -> None:
    """Freeze a guest just before it looks at the overlays"""
    if project.settings.cold:
        return
    settings = selection.decided(project.settings)
    if selection.of(settings).preflight((), Ports(settings.ssh_base, None)):
        return  # the start says what is missing
    plain_boot, _ = plain(settings, project.workspace)
    for shape in shapes:
        ensure(settings, project.workspace, plain_boot, shape)


def plain(settings: Settings, workspace: Workspace) -> tuple[Boot, str]:
    """What an ordinary boot is made from, where loose machines run, and why this accelerator was chosen."""
    made, why = boot.cold(settings, workspace)
    backend = selection.of(settings)
    apart = () if backend.preflight((), Ports(settings.ssh_base, None)) else backend.inside(None)
    return replace(made, apart=tuple(apart)), why


def ensure(settings: Settings, workspace: Workspace, plain: Boot, shape: snapshot.Shape) -> Path | str:
    """The snapshot of this shape, made if it is missing or outdated; or why it cannot be made."""
    place = folder(settings, workspace, shape)
    identity = snapshot.key(plain, shape, boot.contents(settings, workspace))
    return _kept(place, identity, lambda: snapshot.make(plain, shape, identity, place))


def with_overlays(settings: Settings, plain: Boot, shape: snapshot.Shape, source: Path) -> Path | str:
    """The snapshot `source` after it has unpacked the cluster's ISO; or why there is none.

    Made from `source` in a moment when the ISO is another one: nodes need not unpack the same things each.
    """
    place = source.with_name(f"{source.name}@{settings.name}")
    iso = [plain.iso.stat().st_ino, plain.iso.stat().st_mtime_ns] if plain.iso else []
    identity = files.digest([files.read_json(source / "golden.json").get("key"), iso])
    return _kept(place, identity, lambda: snapshot.unpack(plain, shape, identity, source, place))


def _kept(place: Path, identity: str, make: Callable[[], object]) -> Path | str:
    """The snapshot at `place` if it is the one of this identity, else what `make` makes; or why it cannot."""
    with files.locked(place.with_name(f"{place.name}.lock")):
        known = files.read_json(place / "golden.json")
        if known.get("key") == identity:
            os.utime(place)
            return str(known["failed"]) if "failed" in known else place
        try:
            make()
        except UserError as error:
            files.write_json(place / "golden.json", {"key": identity, "failed": str(error)})
            return str(error)
    _forget_old(place.parent)
    return place


def _forget_old(golden: Path) -> None:
    """Keep the snapshots that were used last, and all of the last minutes: a start may need several.

    Running clones do not need the names.
    """
    found = sorted((path.stat().st_mtime, path) for path in golden.iterdir() if path.is_dir())
    for used, old in found[:-KEPT]:
        if time.time() - used > RECENT:
            with contextlib.suppress(OSError):  # another start forgets it too
                files.remove(old)
