"""Disk images: what overlays and definitions put into them stays inside, with all its bits."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.image import compose
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import Image
from tasks.project.site import Site
from tests.conftest import content
from tests.formats.test_inside import archive, member

NONE = PackageRequest("bookworm", ())
EPOCH = 1735689600


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory that nothing may change."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/canary").write_text("not ours")
    before = content(tmp_path / "outside"), (tmp_path / "outside").stat().st_mode
    yield tmp_path / "outside"
    assert (content(tmp_path / "outside"), (tmp_path / "outside").stat().st_mode) == before


def composed(folder: Path, *overlays: str, **keys: object) -> dict[str, tuple[str, str]]:
    """Make an image of rootfs/ and these overlays, without packages: path -> mode (octal), owner."""
    workspace = Workspace(folder / "workspace")
    (folder / "images/i/rootfs").mkdir(parents=True, exist_ok=True)
    base = Image.model_validate(
        {"name": "i", "summary": "i", "directory": folder / "images/i", "packages": ("none",), **keys}
    )
    build = compose.ImageBuild("i", base, NONE, NONE, overlays, "1.2", EPOCH, "32M", ())
    compose.compose(build, [folder / "images/i/rootfs"], Site(workspace, "bookworm"))
    raw = folder / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(workspace.image("i")), str(raw)], check=True)
    return dict(listed(raw, ""))


def listed(raw: Path, folder: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """What debugfs sees in a directory and below."""
    command = ["debugfs", "-R", f'ls -p "/{folder}"', str(raw)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for mode, uid, gid, name in re.findall(r"^/\d+/(\d+)/(\d+)/(\d+)/([^/]+)/", text, re.M):
        path = f"{folder}/{name}".strip("/")
        if name not in (".", "..", "lost+found"):
            yield path, (mode, f"{uid}:{gid}")
            if mode.startswith("04"):
                yield from listed(raw, path)


def test_an_overlays_bits_are_kept(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "workspace/ovl").mkdir(parents=True)
    c, d, f = b"3", b"5", b"6"
    archive(
        tmp_path / "workspace/ovl/o.tar",
        member("./", d, mode=0o700), member("su", text=b"1", mode=0o4755),
        member("sg", text=b"1", mode=0o2755),
        member("t", d, mode=0o1777), member("s", d, mode=0o2775), member("private", d, mode=0o700),
        member("su2", b"1", "su"), member("pipe", f, mode=0o622), member("dev/null", c, mode=0o666),
        member("file", text=b"1", mode=0o640),
    )  # fmt: skip
    seen = composed(tmp_path, "o")
    modes = {path: mode for path, (mode, _) in seen.items()}
    assert {owner for _, owner in seen.values()} == {"0:0"}
    expected = {
        "su": "104755", "su2": "104755", "sg": "102755", "t": "041777", "s": "042775", "private": "040700",
        "pipe": "010622", "dev/null": "020666", "file": "100640",
    }  # fmt: skip
    assert {path: modes[path] for path in expected} == expected


def test_nothing_of_an_image_leads_out(tmp_path: Path, outside: Path) -> None:
    rootfs = tmp_path / "images/i/rootfs"
    (rootfs / "etc").mkdir(parents=True)
    (rootfs / "usr").mkdir()
    (rootfs / "data").symlink_to(outside)
    (rootfs / "usr/sbin").symlink_to(outside)
    (rootfs / "etc/issue").symlink_to(outside / "canary")
    (tmp_path / "workspace/ovl").mkdir(parents=True)
    archive(tmp_path / "workspace/ovl/o.tar", member("data/o", text=b"1"), member("data/n", b"3", mode=0o600))
    seen = composed(
        tmp_path, "o",
        dirs={"data/dir": "700", "data": "1777", "../../up": "755"}, links={"data/link": "x"},
        modes={"data/o": "4711"}, devices={"data/null": ("c", 1, 3, "666")}, owners={"data/o": (3, 4)},
    )  # fmt: skip
    place = str(outside).strip("/")
    below = f"{place}/"
    inside = {path.removeprefix(below): each for path, each in seen.items() if path.startswith(below)}
    assert inside == {
        "dir": ("040700", "0:0"), "link": ("120777", "0:0"), "o": ("104711", "3:4"), "n": ("020600", "0:0"),
        "null": ("020666", "0:0"), "xc-reseed": ("100755", "0:0"),
    }  # fmt: skip
    assert seen[place] == ("041777", "0:0") and "up" in seen


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"modes": {"nothing/there": "755"}}, "image.yaml: modes: there is no nothing/there in the image"),
        ({"owners": {"x\ndump /f /tmp/out": (1, 1)}}, "needs a path without newlines"),
        ({"devices": {"x\nq": ("c", 1, 1, "600")}}, "needs a path without newlines"),
    ],
)
def test_paths_that_no_image_can_have(tmp_path: Path, keys: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        composed(tmp_path, **keys)
    assert not [name for name in os.listdir(tmp_path / "workspace/image") if "qcow2" in name]
