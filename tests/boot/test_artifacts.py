"""What came from outside, in a guest: a partitioned disk, a file of more than 4 GiB on the ISO, odd files."""

import io
import os
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import files
from tests.boot.conftest import ROOT, WORKSPACE, Cluster, assert_nothing_left, build

pytestmark = pytest.mark.boot
IMAGE = "t-partitioned"
BIG = (4 << 30) + 123_457  # bytes
MIB = 1 << 20
# cap_dac_override, permitted and effective (capabilities(7), version 2)
MAY_READ = struct.pack("<IIIII", 0x02000001, 1 << 1, 0, 0, 0)


def partitioned(folder: Path) -> Path:
    """The base image in the first partition of a disk, as others publish theirs; packed with xz."""
    raw, disk = folder / "raw", folder / "disk"
    base = str(WORKSPACE / "image" / "base.qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "raw", base, str(raw)], check=True)
    with disk.open("wb") as file:
        file.truncate(raw.stat().st_size + 2 * MIB)
    # An MBR with one entry: Linux, from 1 MiB on.
    entry = struct.pack(
        "<B3sB3sII", 0, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", 2048, raw.stat().st_size // 512
    )
    with disk.open("r+b") as file:
        file.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
    words = ["dd", f"if={raw}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"]
    subprocess.run(words, check=True)
    subprocess.run(["xz", "-0", "-T0", str(disk)], check=True)
    return folder / "disk.xz"


def busybox() -> bytes:
    """A static program, from a package in the cache."""
    deb = next((WORKSPACE / "cache/apt").glob("*/cache/archives/busybox-static_*.deb"))
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(unpacked.stdout)) as tar:
        content = tar.extractfile("./bin/busybox")
        assert content
        return content.read()


def capable_tar(path: Path) -> None:
    """As GNU tar --xattrs writes it: a `cat` that reads what it may not."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entry, data = tarfile.TarInfo("opt/may/cat"), busybox()
        entry.size, entry.mode = len(data), 0o755
        entry.pax_headers = {"SCHILY.xattr.security.capability": MAY_READ.decode("latin-1")}
        tar.addfile(entry, io.BytesIO(data))


def odd_overlay(folder: Path) -> None:
    """Many files, names that are not plain, links, setuid."""
    root = folder / "default" / "opt" / "odd"
    (root / "many").mkdir(parents=True)
    for number in range(10_000):
        (root / "many" / f"{number:05d}").write_text("")
    (root / "with space").write_text("space")
    (root / "åäö ☃").write_text("snow")
    (root / ("long" * 50)).write_text("long")
    os.link(root / "with space", root / "second name")
    (root / "link").symlink_to("with space")
    (root / "setuid").write_text("#!/bin/sh\n")
    (root / "setuid").chmod(0o4755)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node on a partitioned image."""
    folder = tmp_path_factory.mktemp("artifacts")
    cluster = Cluster("t-artifacts")
    definition = ROOT / "images" / IMAGE
    try:
        cluster.xc("mkcdrom")
        build("image:base")
        archive = partitioned(folder)
        new = WORKSPACE / IMAGE
        new.mkdir()
        (new / "image.yaml").write_text(
            f"summary: for a test\ndisk:\n  sources: [{{url: '{archive.as_uri()}'}}]\n"
            f"  sha256: {files.sha256(archive)}\n  root: /dev/vda1\n"
        )
        new.rename(definition)  # whole at once: others read the definitions meanwhile
        odd_overlay(folder / "odd")
        capable_tar(folder / "capable.tar")
        (folder / "cidata").mkdir()
        with (folder / "cidata" / "big").open("wb") as big:
            big.seek((4 << 30) - 3)
            big.write(b"border")
            big.seek(BIG - 3)
            big.write(b"end")
        words = ["network-topology", str(folder / "odd"), str(folder / "capable.tar")]
        cluster.xc("mkcdrom", f"--cidata={folder / 'cidata'}", *words)
        cluster.xc("starts", f"--image={IMAGE}", "--nvm=1", "--nrouters=0", "--timeout=400")
        yield cluster
    finally:
        cluster.xc("stop")
        shutil.rmtree(definition, ignore_errors=True)
        cluster.xc("mkcdrom", ok=False)
        for path in (WORKSPACE / "image").glob(f"{IMAGE}*"):
            path.unlink()
    assert_nothing_left("t-artifacts")


def test_the_root_is_a_partition(cluster: Cluster) -> None:
    assert "root=/dev/vda1" in cluster.rsh(1, "cat /proc/cmdline")
    assert "/dev/vda1 / ext4" in cluster.rsh(1, "sed s,/dev/root,/dev/vda1, /proc/mounts")


def test_names_and_links(cluster: Cluster) -> None:
    assert cluster.rsh(1, "ls /opt/odd/many | wc -l").strip() == "10000"
    assert cluster.rsh(1, "cat '/opt/odd/with space' '/opt/odd/åäö ☃' /opt/odd/link") == "spacesnowspace"
    assert cluster.rsh(1, f"cat /opt/odd/{'long' * 50}") == "long"
    assert cluster.rsh(1, "stat -c %h '/opt/odd/second name'").strip() == "2"
    assert cluster.rsh(1, "stat -c %a /opt/odd/setuid").strip() == "4755"


def test_file_capabilities(cluster: Cluster) -> None:
    as_nobody = "su -s /bin/sh nobody -c"
    assert cluster.xc("rsh", "1", f"{as_nobody} 'cat /etc/shadow'", ok=False).returncode != 0
    assert "root:" in cluster.rsh(1, f"{as_nobody} '/opt/may/cat /etc/shadow'")


def test_a_file_of_more_than_4_gib_on_the_iso(cluster: Cluster) -> None:
    assert str(BIG) in cluster.rsh(1, "mount -r -t iso9660 /dev/vdb /mnt && ls -l /mnt/big")
    border = "dd if=/mnt/big bs=4096 skip=1048575 count=2 2>/dev/null | tr -d '\\0'"
    assert cluster.rsh(1, border).strip() == "border"
    last = f"dd if=/mnt/big bs=1 skip={BIG - 3} count=3 2>/dev/null; umount /mnt"
    assert cluster.rsh(1, last).strip() == "end"
