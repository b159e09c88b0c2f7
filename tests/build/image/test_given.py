"""A disk image that is named by its path: that very file is behind the disks of nodes, unchanged."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Checkout

SIZE = 1 << 20


def put(path: Path, kind: str = "raw") -> Path:
    """A disk image with something in it, as a user puts one there by hand."""
    raw = path.with_suffix(".content")
    raw.write_bytes(b"root file system".ljust(4096, b"\0") * (SIZE // 4096))
    subprocess.run(["qemu-img", "convert", "-O", kind, str(raw), str(path)], check=True)
    return path


def images(project: Checkout) -> list[Path]:
    """The images that stand on a file of the user's."""
    return sorted((project.workspace / "image").glob("given-*.qcow2"))


def chain(image: Path) -> list[tuple[str, str]]:
    """The files behind a qcow2, and their formats, the qcow2 first."""
    command = ["qemu-img", "info", "-U", "--backing-chain", "--output=json", str(image)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return [(each["filename"], each["format"]) for each in told]


def task(project: Checkout, path: str, *, verb: str = "list") -> str:
    """The task of the image that `path` stands for."""
    listed = project.good(verb, "--all", "--quiet", "image", env={"__image": path}).out.split()
    return next((name for name in listed if name.startswith("image:given-")), "")


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
@pytest.mark.parametrize("name", ["hd-k8s.img", "it's mine.img"])
def test_the_very_file_is_the_disk(checkout: Checkout, tmp_path: Path, kind: str, name: str) -> None:
    path = put(tmp_path / name, kind)
    before = path.read_bytes()
    own = task(checkout, str(path))
    checkout.good(own, env={"__image": str(path)})
    (image,) = images(checkout)
    assert own == f"image:{image.stem}"
    assert chain(image) == [(str(image), "qcow2"), (str(path), kind)]
    assert path.read_bytes() == before
    again = checkout.good(own, env={"__image": str(path)})
    assert again.tasks == set()


def test_another_content_is_another_disk(checkout: Checkout, tmp_path: Path) -> None:
    path = put(tmp_path / "hd.img")
    own = task(checkout, str(path))
    checkout.good(own, env={"__image": str(path)})
    (image,) = images(checkout)
    stamp = image.with_suffix(".json")
    first = json.loads(stamp.read_text())["files"]
    os.utime(path, ns=(1, 1))
    checkout.good(own, env={"__image": str(path)})
    assert json.loads(stamp.read_text())["files"] != first


def test_it_is_known_where_nobody_names_it(checkout: Checkout, tmp_path: Path) -> None:
    """For nodes that another shell adds."""
    path = put(tmp_path / "hd.img")
    own = task(checkout, str(path))
    checkout.good(own, env={"__image": str(path)})
    checkout.good(own)
    path.unlink()
    checkout.bad(own, code=1, says=(str(path), "No such file"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "too few for a disk image"),
        (b"<html>not found</html>" + b" " * 600, "it is a text"),
        (b"KDMV" + b"x" * 600, "it is a vmdk image"),
        (b"x" * 700, "cut off"),
        (b"QFI\xfb" + b"\0" * 600, "damaged"),
    ],
)
def test_what_is_no_disk_image_is_refused(
    checkout: Checkout, tmp_path: Path, content: bytes, text: str
) -> None:
    path = tmp_path / "hd-k8s.img"
    path.write_bytes(content)
    own = task(checkout, str(path))
    checkout.bad(own, code=1, says=(str(path), text), env={"__image": str(path)})
    assert images(checkout) == []


def test_images_that_were_built_here_are_named_as_before(checkout: Checkout, tmp_path: Path) -> None:
    home = checkout.workspace / "xcluster"
    built = checkout.workspace / "image" / "base.qcow2"
    for folder in (home, built.parent):
        folder.mkdir(parents=True)
    built.write_bytes(b"")
    (home / "hd.img").symlink_to("../image/base.qcow2")
    for path in (built, home / "hd.img", tmp_path / "hd.img"):
        assert task(checkout, str(path)) == ""


def test_a_file_of_the_user_stays_where_links_are_made(checkout: Checkout) -> None:
    home = checkout.workspace / "xcluster"
    home.mkdir(parents=True)
    (checkout.workspace / "image").mkdir()
    (checkout.workspace / "image" / "k8s.qcow2").write_bytes(b"built")
    put(home / "hd-k8s.img")
    size = (home / "hd-k8s.img").stat().st_size
    checkout.good("ovld", "a")
    assert not (home / "hd-k8s.img").is_symlink() and (home / "hd-k8s.img").stat().st_size == size
    out = checkout.good("env", env={"__image": str(home / "hd-k8s.img")}).out
    assert f"__image='{home}/hd-k8s.img'" in out
