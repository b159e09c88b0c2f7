"""A kernel's source tree: unpacked once, patched, and used again as long as neither changes."""

import subprocess
from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.errors import CommandError
from tasks.build.kernel import kbuild, kernel
from tests.conftest import temporary

PATCH = "--- a/Makefile\n+++ b/Makefile\n@@ -1 +1 @@\n-VERSION = 6\n+VERSION = {}\n"


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    """A source as Debian packs it: one directory that holds everything, and xz."""
    top = tmp_path / "linux-source-6.1"
    top.mkdir()
    (top / "Makefile").write_text("VERSION = 6\n")
    subprocess.run(["tar", "-cJf", "linux.tar.xz", top.name], cwd=tmp_path, check=True)
    return tmp_path / "linux.tar.xz"


def patch(tmp_path: Path, version: str) -> Path:
    """A patch that gives the source another version."""
    path = tmp_path / "version.patch"
    path.write_text(PATCH.format(version))
    return path


def test_a_patched_source(tmp_path: Path, tarball: Path) -> None:
    source, sha256 = tmp_path / "source", files.sha256(tarball)
    for version in ("7", "8"):
        kbuild.unpack(tarball, sha256, [patch(tmp_path, version)], source)
        assert (source / "Makefile").read_text() == f"VERSION = {version}\n"
    kbuild.unpack(tarball, sha256, [], source)
    assert (source / "Makefile").read_text() == "VERSION = 6\n"


def test_what_did_not_change_is_used_again(tmp_path: Path, tarball: Path) -> None:
    source, patches = tmp_path / "source", [patch(tmp_path, "7")]
    for _ in range(2):
        kbuild.unpack(tarball, "of the tarball", patches, source)
        (source / "object").write_text("compiled\n")
    kbuild.unpack(tarball, "of the tarball", patches, source)
    assert (source / "object").exists()
    kbuild.unpack(tarball, "of another tarball", patches, source)
    assert not (source / "object").exists()


def test_a_patch_that_does_not_apply(tmp_path: Path, tarball: Path) -> None:
    wrong = tmp_path / "wrong.patch"
    wrong.write_text(PATCH.format("7").replace("-VERSION = 6", "-VERSION = 5"))
    with pytest.raises(CommandError, match="patch") as caught:
        kbuild.unpack(tarball, "sha256", [wrong], tmp_path / "source")
    assert str(wrong) in str(caught.value)
    assert not (tmp_path / "source").exists() and temporary(tmp_path) == []


@pytest.mark.parametrize("count", [0, 3])
def test_a_kernel_with_few_modules_has_a_disk_of_them(tmp_path: Path, count: int) -> None:
    modules = tmp_path / "modules" / "6.1.1"
    modules.mkdir(parents=True)
    for number in range(count):
        (modules / f"{number}.ko").write_bytes(bytes(9_000))
    kernel.modules_disk(tmp_path / "modules", tmp_path, 1_700_000_000)
    disk = str(tmp_path / "modules.img")
    assert subprocess.run(["e2fsck", "-f", "-n", disk], capture_output=True, check=False).returncode == 0
    listed = subprocess.run(
        ["debugfs", "-R", "ls -p /6.1.1", disk], capture_output=True, text=True, check=True
    )
    assert listed.stdout.count(".ko/") == count
