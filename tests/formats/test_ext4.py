"""ext4 images made without root, by the real programs."""

import os
import subprocess
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.base.errors import UserError
from tasks.formats import ext4

EPOCH = 1735689600
pytestmark = pytest.mark.skipif(
    not (proc.find("mke2fs") and proc.find("debugfs")), reason="e2fsprogs is not installed"
)


def fill(root: Path, order: int = 1) -> Path:
    """A small tree, its files made in this or the other order."""
    root.mkdir(parents=True)
    root.chmod(0o755)
    for number in list(range(60))[::order]:
        folder = root / f"dir{number % 5}"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        (folder / f"file{number}").write_text(str(number) * number)
        (folder / f"file{number}").chmod(0o644)
    (root / "dir0/setuid").write_text("x")
    (root / "dir0/setuid").chmod(0o4755)
    (root / "dir1/link").symlink_to("file1")
    os.link(root / "dir2/file2", root / "dir3/hard")
    return root


def debugfs(image: Path, command: str) -> str:
    return subprocess.run(
        [proc.need("debugfs"), "-R", command, str(image)], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image of the tree, with a device and an owner."""
    out = tmp_path / "x.img"
    ext4.make(
        fill(tmp_path / "tree"),
        out,
        "16M",
        EPOCH,
        devices={"dir0/null": ("c", 1, 3, "666")},
        owners={"dir1/file1": (33, 44)},
    )
    return out


def test_fsck_is_content(image: Path) -> None:
    done = subprocess.run(
        [proc.need("e2fsck"), "-fn", str(image)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert image.stat().st_size == 16 << 20
    assert [path.name for path in image.parent.iterdir() if "x.img" in path.name] == ["x.img"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/", ["Mode:  0755", "User:     0", "Group:     0"]),
        ("/dir0/setuid", ["Mode:  04755", "User:     0"]),
        ("/dir0/null", ["character", "Mode:  0666", "01:03"]),
        ("/dir1/file1", ["Mode:  0644", "User:    33", "Group:    44"]),
        ("/dir1/link", ["symlink", 'Fast link dest: "file1"', "User:     0"]),
        ("/dir3/hard", ["Links: 2", "User:     0"]),
        ("/dir4/file59", ["Mode:  0644", "User:     0", "Group:     0"]),
    ],
)
def test_inodes(image: Path, path: str, says: list[str]) -> None:
    output = debugfs(image, f"stat {path}")
    for text in says:
        assert text in output
    times = [line.split("0x")[1].split(":")[0] for line in output.splitlines() if "time: 0x" in line]
    assert times == [f"{EPOCH:08x}"] * 4


def test_content(image: Path) -> None:
    assert debugfs(image, "cat /dir4/file59") == "59" * 59


def test_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    """A directory lists its files in an order of the host; on tmpfs it is that of their making."""
    places = [
        tmp_path,
        Path("/dev/shm") / tmp_path.name if os.access("/dev/shm", os.W_OK) else tmp_path / "other",
    ]
    images: list[Path] = []
    try:
        for number, order, mask in ((0, 1, 0o022), (1, -1, 0o077), (1, 1, 0o022)):
            old = os.umask(mask)
            root = fill(places[number] / f"tree{order}", order)
            os.umask(old)
            images.append(tmp_path / f"{len(images)}.img")
            ext4.make(root, images[-1], "16M", EPOCH)
    finally:
        subprocess.run(["rm", "-rf", str(places[1])], check=True)
    one, *others = (image.read_bytes() for image in images)
    assert [other == one for other in others] == [True, True]


def test_too_small(tmp_path: Path) -> None:
    root = fill(tmp_path / "tree")
    (root / "large").write_bytes(os.urandom(6 << 20))
    with pytest.raises(UserError):
        ext4.make(root, tmp_path / "x.img", "8M", EPOCH)


def test_a_device_in_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.img"):
        ext4.make(
            fill(tmp_path / "tree"),
            tmp_path / "x.img",
            "16M",
            EPOCH,
            devices={"nowhere/null": ("c", 1, 3, "666")},
        )


def test_qcow2(image: Path) -> None:
    if not proc.find("qemu-img"):
        pytest.skip("qemu-img is not installed")
    out = image.with_suffix(".qcow2")
    ext4.to_qcow2(image, out)
    assert out.stat().st_size < 4 << 20
    subprocess.run(["qemu-img", "compare", "-q", str(image), str(out)], check=True)
