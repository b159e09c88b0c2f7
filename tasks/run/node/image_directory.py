"""The disk of container images ──> a directory with the same, where nodes that are containers find it

A user may mount no squashfs. So it is unpacked, once for each content.
"""

import os
from pathlib import Path

from tasks.base import files, locks, proc, subids
from tasks.base.paths import Workspace
from tasks.build.image import rootfs
from tasks.definitions.settings import Settings
from tasks.run.node import boot

OPTIONS = ("-quiet", "-no-progress", "-no-xattrs", "-no-exit-code")  # for devices, of which a user makes none
PLACE = "/var/lib/container-images"  # in a node


def prepare(settings: Settings, workspace: Workspace) -> Path | None:
    """The directory with the cluster's container images, made if it is not there; None if it has none."""
    disk = boot.containers(settings, workspace)
    if disk is None:
        return None
    place = workspace.rootfs("container-images") / disk.stem
    with locks.locked(place.with_suffix(".lock")):
        if not place.is_dir():
            _unpack(disk, place)
        os.utime(place)
        rootfs.forget_old(place.parent, place)
    return place


def _unpack(disk: Path, place: Path) -> None:
    """Unpack the disk. A user gets no devices, and files that all belong to them."""
    with files.atomic(place, directory=True) as temp:
        proc.output([proc.need("unsquashfs"), *OPTIONS, "-dest", str(temp), str(disk)])
        rootfs.give_all(temp, subids.first())
