"""kernel + image + size of nodes ──golden──> golden/<name>/{ram,state,disk.qcow2}, what nodes are cloned from

Overlays are no input: the snapshot is taken before a guest looks at them. Where it cannot be made, nodes boot
the ordinary way, and a line says why.
"""

from pathlib import Path

from tasks.lib import files, kit, proc, progress, qmp
from tasks.lib.errors import UserError
from tasks.lib.paths import Workspace
from tasks.lib.project import Project
from tasks.lib.settings import Settings
from tasks.node import Boot, boot, golden, qemu


def tasks(project: Project) -> kit.Tasks:
    """The snapshot of the cluster that the settings describe."""
    workspace, settings = project.workspace, project.settings
    program = proc.find(qemu.QEMU)
    deps = [workspace.stamp("kernel", settings.kernel), workspace.stamp("image", settings.image)]
    made = shape(settings)
    inputs = {
        "shape": made,
        "qemu": [settings.machine, settings.kvm_opt, settings.accel],
        "names": [settings.kernel, settings.image],
    }
    recipe = kit.Recipe(
        freeze,
        [project],
        deps=[*deps, *([Path(program)] if program else [])],
        inputs=inputs,
        code=(golden, boot, qemu, qmp),
    )
    target = folder(settings, workspace)
    yield kit.task("golden", None, recipe, [target / "golden.json"], also=[target])


def shape(settings: Settings) -> golden.Shape:
    """What the nodes of a cluster have in common."""
    return golden.shape(settings.nodes(), settings.mem, settings.smp, settings.append)


def folder(settings: Settings, workspace: Workspace) -> Path:
    """Where the snapshot for these settings is kept."""
    made = shape(settings)
    extra = [settings.machine, settings.kvm_opt, made.append, made.mtus]
    mark = "" if extra == ["pc", "", "", ()] else f"-{files.digest(extra)[:8]}"
    return workspace.root / "golden" / f"{settings.kernel}-{settings.image}-{made.name}{mark}"


def freeze(project: Project) -> None:
    """Freeze a guest just before it looks at the overlays"""
    if project.settings.cold:
        return
    plain, _ = boot.cold(project.settings, project.workspace)
    ensure(project.settings, project.workspace, plain)


def ensure(settings: Settings, workspace: Workspace, plain: Boot) -> Path | None:
    """The snapshot for these settings, made if it is missing or outdated; None when there can be none."""
    made, place = shape(settings), folder(settings, workspace)
    identity = golden.key(plain, made, boot.contents(settings, workspace))
    known = files.read_json(place / "golden.json")
    if known.get("key") == identity:
        return None if known.get("failed") else place
    with files.locked(place.with_name(f"{place.name}.lock")):
        if golden.usable(place, identity):
            return place
        try:
            golden.make(plain, made, identity, place)
        except UserError as error:
            progress.say(f"no golden snapshot, nodes boot the ordinary way: {error}")
            files.write_json(place / "golden.json", {"key": identity, "failed": str(error)})
            return None
    return place
