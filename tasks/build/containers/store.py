"""The container images of a cluster ──store──> store/<key>.squashfs + store/<cluster>.json

One read-only disk for all nodes, with the images as podman and cri-o keep them. Which images: those that the
overlays on the ISO list, and the disk image with its overlays. A cluster without any has no such disk, and a
self-contained disk image has its own inside.
"""

import tarfile
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.base import files, locks, progress
from tasks.base.paths import Workspace
from tasks.build.containers import containers_storage, layers, oci, oci_archive
from tasks.build.containers.containers_storage import Stored
from tasks.build.overlay import ovl
from tasks.definitions import image_chain, image_reference
from tasks.definitions.schema import Image, Overlay
from tasks.engine import kit
from tasks.formats import squashfs, unpack
from tasks.project.project import Project, source_date_epoch

STORAGE, LAYOUT = "storage", "oci"  # directories on the disk
INSIDE = "usr/lib/container-images"  # in a self-contained disk image
USUAL = "containers-storage"
NONE = "The disk of container images; this cluster has none"
KEPT = 4  # disks that no cluster has now
RECENT = 600  # seconds


@dataclass(frozen=True)
class StoreContents:
    """What is on the disk of a cluster."""

    refs: tuple[str, ...] = ()  # the full names of the images
    forms: tuple[str, ...] = ()  # and how programs in the guest want them


def contents(project: Project, overlays: Collection[Overlay]) -> StoreContents:
    """The images that the cluster's nodes have before the start."""
    images, name = project.definitions.images, project.settings.image
    chain = image_chain.chain(images, name)
    inside = listed(project, image_chain.self_contained(images, name))
    unpacked = (*overlays, *ovl.of_images(project, chain))
    refs = names([*chain, *unpacked])
    forms: set[str] = {form for overlay in unpacked for form in overlay.image_stores}
    if any(image.disk for image in chain):
        forms |= {USUAL, LAYOUT}  # what its programs read is not known
    return StoreContents(tuple(sorted(refs.difference(inside))), tuple(sorted(forms or {USUAL})))


def listed(project: Project, images: Sequence[Image]) -> list[str]:
    """The container images that disk images and their overlays list, by full name."""
    return sorted(names([*images, *ovl.of_images(project, images)]))


def names(definitions: Iterable[Image | Overlay]) -> set[str]:
    """The container images that these list themselves, by full name."""
    return {image.ref for each in definitions for image in each.images}


def is_due(project: Project, disk: StoreContents) -> bool:
    """Whether there is something to do: a disk to make, or one to give up."""
    return bool(disk.refs) or project.workspace.stored(project.settings.name).is_file()


def tasks(project: Project, contents: StoreContents) -> kit.Tasks:
    """The disk of the cluster; or, when it has one that is not wanted any more, the end of that."""
    workspace, name = project.workspace, project.settings.name
    stamp = workspace.stored(name)
    if not contents.refs:
        if is_due(project, contents):
            yield kit.task("store", None, kit.Recipe(forget, [workspace, name]), [])
        else:
            yield {**kit.always("store", _none_wanted, [name]), "doc": NONE}
        return
    recipe = kit.Recipe(
        build,
        [workspace, name, contents, source_date_epoch(project.environ)],
        deps=[workspace.pulled(ref) for ref in contents.refs],
        code=(containers_storage, layers, oci, oci_archive, squashfs),
        keeps=lambda: [disk for disk in [disk_of(workspace, name)] if disk],
    )
    task = kit.task("store", None, recipe, [stamp])
    disk = disk_of(workspace, name)
    yield {**task, "uptodate": [*task["uptodate"], disk is None or disk.is_file()]}


def _none_wanted(name: str) -> None:
    progress.say(f"cluster '{name}' has no container images, so it gets no disk of them")


def disk_of(workspace: Workspace, cluster: str) -> Path | None:
    """The disk with the container images of a cluster, if it has one."""
    key = files.read_json(workspace.stored(cluster)).get("key")
    return workspace.store(str(key)) if key else None


def build(workspace: Workspace, name: str, contents: StoreContents, epoch: int) -> None:
    """Write the disk of container images"""
    images = _images(workspace, contents.refs)
    layout = oci.Layout(workspace.oci)
    key = files.digest([contents.forms, [[image.names, image.digest, image.top] for image in images]])[:16]
    disk = workspace.store(key)

    def fill(tar: tarfile.TarFile) -> None:
        if USUAL in contents.forms:
            containers_storage.StorageWriter(layout, tar, STORAGE, epoch).write(images)
        if LAYOUT in contents.forms:
            oci_archive.write(layout, images, tar, LAYOUT, epoch)

    with locks.locked(disk.with_suffix(".lock")), files.atomic(disk) as temp:
        squashfs.write(temp, fill, epoch)
    files.write_stamp(workspace.stored(name), {"disk": disk}, key=key, images=list(contents.refs))
    _forget_old(workspace)


def put_inside(workspace: Workspace, refs: Sequence[str], root: Path, epoch: int) -> None:
    """Write container images into the tree of a disk image, as an OCI layout."""
    with tempfile.TemporaryFile(dir=root.parent) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            oci_archive.write(oci.Layout(workspace.oci), _images(workspace, refs), tar, INSIDE, epoch)
        file.seek(0)
        unpack.stream(file, root)


def _images(workspace: Workspace, refs: Iterable[str]) -> list[Stored]:
    """What was pulled or made under these names."""
    stamps = [files.read_json(workspace.pulled(ref)) for ref in refs]
    return containers_storage.merged(
        [Stored((_shown(str(each["name"])),), str(each["digest"]), str(each["top"])) for each in stamps]
    )


def _shown(ref: str) -> str:
    """The name in a store: a digest beside a tag is not part of it."""
    return image_reference.parse(ref).named if image_reference.parse(ref).tag else ref


def forget(workspace: Workspace, name: str) -> None:
    """The cluster has no container images any more"""
    workspace.stored(name).unlink(missing_ok=True)
    _forget_old(workspace)


def _forget_old(workspace: Workspace) -> None:
    """Remove disks that no cluster has but for the newest. Running nodes do not need the name."""
    folder = workspace.store("x").parent
    used = {disk_of(workspace, stamp.stem) for stamp in folder.glob("*.json")}
    files.forget_old(folder, KEPT, RECENT, lambda path: path.match("[!.]*.squashfs") and path not in used)
