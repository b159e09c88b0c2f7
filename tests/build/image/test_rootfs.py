"""The files of images as directories: to whom they belong, what tells one content from another, old ones."""

import fcntl
import os
from pathlib import Path

import pytest

from tasks.base import files, subids
from tasks.base.paths import Workspace
from tasks.build.image import compose, rootfs
from tasks.definitions.schema import Image
from tasks.project.site import Site
from tests.build.image.test_compose import EPOCH, NONE
from tests.conftest import Checkout

DISK = (
    "summary: a disk\ndisk:\n  sources: [{url: 'http://127.0.0.1:9/disk.img'}]\n  sha256: " + "0" * 64 + "\n"
)


def build(folder: Path, **keys: object) -> Path:
    """Make the files of an image of rootfs/ and no packages; the directory that they are in."""
    workspace = Workspace(folder / "workspace")
    source = folder / "images/i/rootfs"
    source.mkdir(parents=True, exist_ok=True)
    words = {"name": "i", "summary": "i", "directory": source.parent, "packages": ("none",), **keys}
    base = Image.model_validate(words)
    parts = compose.ImageBuild("i", base, NONE, NONE, (), "1.2", EPOCH, "32M", ())
    rootfs.extract(parts, [source], Site(workspace, "bookworm"))
    path = rootfs.directory(workspace, "i")
    assert path
    return path


def program(folder: Path, text: str = "#!/bin/sh\n", mode: int = 0o755) -> None:
    path = folder / "images/i/rootfs/bin/run"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_what_is_in_it(tmp_path: Path) -> None:
    program(tmp_path)
    path = build(tmp_path, links={"bin/also": "run"}, dirs={"var/tmp": "1777"}, modes={"bin/run": "4755"})
    info = (path / "bin/run").stat()
    assert (oct(info.st_mode), info.st_mtime) == ("0o104755", EPOCH)
    assert os.readlink(path / "bin/also") == "run"
    assert oct((path / "var/tmp").stat().st_mode) == "0o41777"
    assert {each.lstat().st_uid for each in path.rglob("*")} == {subids.first()}


@pytest.mark.skipif(subids.first() != subids.BASE, reason="has one id")
def test_other_owners_have_their_own_ids(tmp_path: Path) -> None:
    program(tmp_path)
    path = build(tmp_path, dirs={"home/u": "700"}, owners={"home/u": (1000, 100)})
    info = (path / "home/u").stat()
    assert (info.st_uid - subids.BASE, info.st_gid - subids.BASE) == (1000, 100)


def test_each_content_has_a_directory(tmp_path: Path) -> None:
    program(tmp_path)
    first = build(tmp_path)
    assert build(tmp_path) == first
    program(tmp_path, "#!/bin/sh\nexit\n")
    second = build(tmp_path)
    program(tmp_path, mode=0o644)
    third = build(tmp_path)
    assert len({first, second, third}) == 3
    program(tmp_path)
    assert build(tmp_path) == first


def test_old_ones_go_unless_containers_work_on_them(tmp_path: Path) -> None:
    paths = []
    for number in range(5):
        program(tmp_path, f"#!/bin/sh\nexit {number}\n")
        paths.append(build(tmp_path))
        os.utime(paths[-1], (number, number))
        if number == 0:
            handle = os.open(paths[0], os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_SH)
    assert [path.is_dir() for path in paths] == [True, False, True, True, True]
    os.close(handle)
    rootfs.forget_old(paths[0].parent, paths[4])
    assert [path.is_dir() for path in paths] == [False, False, True, True, True]


def test_what_nobody_may_read_is_removed_too(tmp_path: Path) -> None:
    """An overlayfs leaves such directories."""
    (tmp_path / "tree/work/work").mkdir(parents=True)
    (tmp_path / "tree/work/work/file").touch()
    for folder in ("tree/work/work", "tree/work"):
        (tmp_path / folder).chmod(0)
    files.remove(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_disk_from_outside_has_no_files_for_containers(checkout: Checkout) -> None:
    checkout.write("images/foreign/image.yaml", DISK)
    done = checkout.xc("start", "--image=foreign", "--node3=container")
    assert (
        done.code == 1
        and "image 'foreign' is a disk from outside, so vm-003 cannot be a container" in done.err
    )
    assert "--node=vm" in done.err and "rootfs:foreign" not in checkout.xc("list", "--all").out
