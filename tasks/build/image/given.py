"""A disk image of the user's ──image:given-<name>──> image/given-<name>.qcow2 + .json

Nothing is copied: the qcow2 has no content of its own, and names the file behind it, raw or qcow2.
"""

from pathlib import Path

from tasks.base import files, locks, proc
from tasks.base.errors import UserError
from tasks.build.image import disk
from tasks.build.sources import requested
from tasks.engine import kit
from tasks.formats import qcow2
from tasks.project.given_images import GivenImage
from tasks.project.project import Project
from tasks.project.site import Site

SECTOR = 512


def tasks(project: Project) -> kit.Tasks:
    """One task for each image that is a file of the user's."""
    workspace = project.workspace
    for image in project.definitions.images.values():
        if not isinstance(image, GivenImage):
            continue
        recipe = kit.Recipe(
            build, [image.name, image.path, project.site], inputs={"file": _facts(image.path)}, code=(qcow2,)
        )
        targets = [workspace.image(image.name), workspace.stamp("image", image.name)]
        yield kit.task(
            "image", image.name, recipe, [*targets, requested.packages_file(workspace, image.name)]
        )


def _facts(path: Path) -> list[int]:
    """What changes when the file does; it is too large to be hashed at every start."""
    try:
        info = path.stat()
    except OSError:
        return []
    return [info.st_size, info.st_mtime_ns, info.st_ino]


def build(name: str, path: Path, site: Site) -> None:
    """Put a disk over the image that was given"""
    kind, out = _kind(path), site.workspace.image(name)
    with locks.locked(out.with_suffix(".lock")), files.atomic(out) as temp:
        proc.output(["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(path), str(temp)])
    files.write_json(requested.packages_file(site.workspace, name), {"packages": []})
    facts = _facts(path)
    content = {"qcow2": {"sha256": files.digest([str(path), facts]), "size": facts[0]}}
    files.write_json(
        site.workspace.stamp("image", name),
        {"files": content, "source": str(path), "root": "/dev/vda", "packages": []},
    )


def _kind(path: Path) -> str:
    """The format of a disk image. Raises UserError for what is none."""
    what = f"the disk image {path}"
    try:
        with path.open("rb") as file:
            first = file.read(disk.BLOCK)
    except OSError as error:
        raise UserError(f"{what}: {error.strerror}", "name another one with __image, or none") from error
    try:
        is_qcow2 = disk.recognised(first)
    except UserError as error:
        raise UserError(f"{what}: {error.message}", error.hint) from None
    if is_qcow2:
        qcow2.refuse(path, what)
        return "qcow2"
    if path.stat().st_size % SECTOR:
        raise UserError(f"{what} is cut off: its size is no multiple of {SECTOR}", "fetch it again")
    return "raw"
