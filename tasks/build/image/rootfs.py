"""images/<name>/ + packages ──rootfs:<name>──> rootfs/<name>/<content>/ + rootfs/<name>.json

The same files as on the disk `image:<name>`, in a directory: containers have it as the lower layer of their
root. Each content has a directory of its own, since running containers work on it; those hold a lock on it.
"""

import dataclasses
import fcntl
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from tasks.base import files, locks, subids
from tasks.base.paths import Workspace
from tasks.build.image import compose
from tasks.build.image.compose import ImageBuild
from tasks.build.sources import apt
from tasks.definitions import iso_choice
from tasks.engine import kit
from tasks.project.project import Project
from tasks.project.site import Site

KEPT = 2  # directories of one image that no container uses


def tasks(project: Project, chosen: iso_choice.IsoChoice) -> kit.Tasks:
    """A task for each image that is built here; it only runs where nodes are containers."""
    workspace = project.workspace
    yield kit.group("rootfs", "Files of images, for containers")
    for image in project.definitions.images.values():
        if image.disk:
            continue
        recipe = compose.recipe_of(extract, project, image, chosen, (compose, subids))
        recipe = dataclasses.replace(recipe, inputs={**recipe.inputs, "first id": subids.first()})
        stamp, folder = workspace.stamp("rootfs", image.name), workspace.rootfs(image.name)
        described = compose.descriptions(workspace, image) if compose.in_directories(project) else []
        task = kit.task("rootfs", image.name, recipe, [stamp, *described], [folder])
        there = not stamp.is_file() or directory(workspace, image.name) is not None
        yield {**task, "uptodate": [*task["uptodate"], there]}


def directory(workspace: Workspace, name: str) -> Path | None:
    """The files of an image as they were built last, if they are there."""
    content = files.read_json(workspace.stamp("rootfs", name)).get("content")
    path = workspace.rootfs(name) / str(content)
    return path if content and path.is_dir() else None


def extract(build: ImageBuild, rootfs: list[Path], site: Site) -> None:
    """Put the files of the image into a directory"""
    workspace = site.workspace
    folder, first = workspace.rootfs(build.name), subids.first()
    with locks.locked(folder.with_suffix(".lock")), files.scratch(folder / "new") as temp:
        temp.mkdir(parents=True)
        packages, picked, _ = compose.put_together(build, rootfs, site, temp)
        content = settle(temp, build.epoch, first, build.base.owners)
        if not (folder / content).is_dir():
            os.rename(temp, folder / content)
        os.utime(folder / content)
        forget_old(folder, folder / content)
    facts = {"content": content, "first": first, "packages": apt.facts([*packages, *picked])}
    files.write_stamp(workspace.stamp("rootfs", build.name), {}, **facts)


def settle(tree: Path, epoch: int, first: int, owners: Mapping[str, tuple[int, int]]) -> str:
    """Give a tree one time, and its files to ids from `first` on if those are root's to give. What is in it.

    `owners` are the uid and gid of paths that are not root's.
    """
    seen = hashlib.sha256(f"{first}".encode())
    gives = first == subids.BASE
    for path in [tree, *sorted(tree.rglob("*"))]:
        name = str(path.relative_to(tree))
        info = path.lstat()
        user, group = owners.get(name, (0, 0))
        if gives:
            _give(path, info.st_mode, first + user, first + group)
        link = os.readlink(path) if stat.S_ISLNK(info.st_mode) else ""
        data = files.sha256(path) if stat.S_ISREG(info.st_mode) else ""
        seen.update(f"{name}\0{info.st_mode:o}\0{user}:{group}\0{link}\0{data}\n".encode())
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    return seen.hexdigest()[:16]


def give_all(tree: Path, first: int) -> None:
    """Give a tree that root has unpacked to the ids of containers: its id 0 is `first` of the host."""
    if first != subids.BASE:
        return
    for path in [tree, *tree.rglob("*")]:
        info = path.lstat()
        _give(path, info.st_mode, first + info.st_uid, first + info.st_gid)


def _give(path: Path, mode: int, user: int, group: int) -> None:
    os.chown(path, user, group, follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        os.chmod(path, stat.S_IMODE(mode))  # the change of the owner takes rights from a program


def forget_old(folder: Path, current: Path) -> None:
    """Remove directories in `folder` that no container works on, but for the newest ones and `current`."""
    others = [path for path in folder.iterdir() if path.is_dir() and path != current]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[: -KEPT or None]:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.remove(path)
        except OSError:
            pass  # a container works on it
        finally:
            os.close(handle)
