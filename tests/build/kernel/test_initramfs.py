"""Which modules an initramfs has, and in which order they are loaded."""

import subprocess
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.base.errors import UserError
from tasks.build.kernel import initramfs

DEP = """\
kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko kernel/lib/crc16.ko
kernel/fs/jbd2/jbd2.ko: kernel/lib/crc16.ko
kernel/fs/mbcache.ko:
kernel/lib/crc16.ko:
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio.ko:
kernel/drivers/char/virtio-rng.ko: kernel/drivers/virtio/virtio.ko
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A tree of modules made by hand."""
    (tmp_path / "modules.dep").write_text(DEP)
    (tmp_path / "modules.builtin").write_text("kernel/fs/isofs/isofs.ko\nkernel/drivers/tty/serial-core.ko\n")
    for line in DEP.splitlines():
        path = tmp_path / line.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    return tmp_path


def names(modules: Path, *requested: str) -> list[str]:
    return [Path(path).name.partition(".")[0] for path in initramfs.ordered(modules, requested)]


def test_what_a_module_needs_comes_first(modules: Path) -> None:
    order = names(modules, "ext4", "virtio_blk", "virtio-rng")
    assert sorted(order) == sorted(["ext4", "jbd2", "mbcache", "crc16", "virtio", "virtio_blk", "virtio-rng"])
    for first, then in (
        ("crc16", "jbd2"),
        ("jbd2", "ext4"),
        ("mbcache", "ext4"),
        ("virtio", "virtio_blk"),
        ("virtio", "virtio-rng"),
    ):
        assert order.index(first) < order.index(then)


def test_order_of_the_wish_is_kept(modules: Path) -> None:
    assert names(modules, "virtio_blk", "mbcache") == ["virtio", "virtio_blk", "mbcache"]
    assert names(modules, "mbcache", "mbcache", "virtio_blk") == ["mbcache", "virtio", "virtio_blk"]


def test_dash_and_underscore_are_the_same(modules: Path) -> None:
    assert names(modules, "virtio_rng") == names(modules, "virtio-rng")


def test_what_is_built_in_is_left_out(modules: Path) -> None:
    assert names(modules, "isofs", "serial_core", "crc16") == ["crc16"]


def test_missing_modules_are_all_named(modules: Path) -> None:
    with pytest.raises(UserError, match="foo, bar") as caught:
        initramfs.ordered(modules, ["ext4", "foo", "isofs", "bar"])
    assert "initramfs_modules" in str(caught.value)


def test_write(modules: Path, tmp_path: Path) -> None:
    if not proc.find("cpio"):
        pytest.skip("cpio is not installed")
    out = tmp_path / "initramfs.cpio"
    initramfs.write(out, modules, ["ext4"], b"a busybox")
    with out.open("rb") as file:
        listed = subprocess.run(
            ["cpio", "-t", "--quiet"], stdin=file, check=True, capture_output=True, text=True
        ).stdout.split()
    assert {
        "init",
        "bin/busybox",
        "bin/insmod",
        "lib/modules/ext4.ko",
        "lib/modules/crc16.ko",
        "dev/console",
    } <= set(listed)
    data = out.read_bytes()
    assert data.index(b"for module in ") < data.index(b"switch_root /root ${xc_init:-/init}")
    initramfs.write(tmp_path / "again.cpio", modules, ["ext4"], b"a busybox")
    assert (tmp_path / "again.cpio").read_bytes() == data
