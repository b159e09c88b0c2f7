"""What differs is found by name and kind, in every kind of container, and nested ones."""

import json
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.base.errors import UsageError
from tasks.build.release import diff, listing
from tasks.formats import ext4, iso9660, tree, xztar
from tests.conftest import Checkout


def make_tree(root: Path) -> Path:
    (root / "etc").mkdir(parents=True)
    (root / "etc/conf").write_text("one\n")
    (root / "etc/run").write_text("#!/bin/sh\n")
    (root / "etc/run").chmod(0o755)
    (root / "link").symlink_to("etc/conf")
    return root


def directory(root: Path, out: Path) -> Path:
    shutil.copytree(root, out, symlinks=True)
    return out


def tar(root: Path, out: Path) -> Path:
    tree.write_tar(root, out, 0)
    return out


def tar_xz(root: Path, out: Path) -> Path:
    tar(root, out.with_suffix(".plain"))
    xztar.write_xz(out.with_suffix(".plain"), out)
    return out


def disk(root: Path, out: Path) -> Path:
    ext4.make(root, out, "16M", 1)
    return out


def qcow2(root: Path, out: Path) -> Path:
    disk(root, out.with_suffix(".raw"))
    ext4.to_qcow2(out.with_suffix(".raw"), out)
    return out


def xz_disk(root: Path, out: Path) -> Path:
    qcow2(root, out.with_suffix(".qcow2"))
    xztar.write_xz(out.with_suffix(".qcow2"), out)
    return out


def nested(root: Path, out: Path) -> Path:
    """A release: a tar.xz with a versioned top, which has an ISO, which has a tar."""
    tar(root, out.with_suffix(".tar"))
    iso9660.write(out.with_suffix(".iso"), {"00a.tar": out.with_suffix(".tar")}, "x", 0)
    xztar.write_tar_xz([xztar.TarEntry("xcluster-1/w/x.iso", out.with_suffix(".iso"))], out, 0)
    return out


KINDS = {
    "directory": (directory, ""),
    "tar": (tar, ""),
    "tar.xz": (tar_xz, ""),
    "ext4": (disk, ""),
    "qcow2": (qcow2, ""),
    "xz of a disk": (xz_disk, ""),
    "nested": (nested, "w/x.iso!00a.tar!"),
}
Make = Callable[[Path, Path], Path]


def differences(one: Path, other: Path, tmp_path: Path) -> set[tuple[str, str]]:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return {(each.path, each.kind) for each in diff.compare(one, other, scratch)}


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A tree and one in which everything is different that can be."""
    one, other = make_tree(tmp_path / "t1"), make_tree(tmp_path / "t2")
    (other / "etc/conf").write_text("two\n")
    (other / "etc/run").chmod(0o700)
    (other / "link").unlink()
    (other / "link").symlink_to("etc/run")
    (one / "old").write_text("")
    (other / "new").mkdir()
    (other / "new/below").write_text("")
    return one, other


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_container(name: str, trees: tuple[Path, Path], tmp_path: Path) -> None:
    make, where = KINDS[name]
    one, other = make(trees[0], tmp_path / "one"), make(trees[1], tmp_path / "other")
    expected = {
        ("etc/conf", "content"),
        ("etc/run", "mode"),
        ("link", "link"),
        ("old", "only in A"),
        ("new", "only in B"),
    }
    assert differences(one, other, tmp_path) == {(where + path, kind) for path, kind in expected}


@pytest.mark.parametrize("name", KINDS)
def test_the_same_is_the_same(name: str, tmp_path: Path) -> None:
    make, _ = KINDS[name]
    root = make_tree(tmp_path / "t")
    assert differences(make(root, tmp_path / "one"), make(root, tmp_path / "other"), tmp_path) == set()


def test_a_tar_and_a_directory(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "t")
    for path in (root, root / "etc"):
        path.chmod(0o755)
    differ = differences(root, tar(root, tmp_path / "x.tar"), tmp_path)
    assert {kind for _, kind in differ} <= {"owner"}, differ  # a directory of ours, and owner 0 in the tar


def test_an_archive_of_an_earlier_version(tmp_path: Path) -> None:
    """Those were rows of streams, one for each 16 MiB; the content is what counts."""
    root = make_tree(tmp_path / "t")
    (root / "big").write_bytes(b"0123456789abcdef" * (2 << 20))
    new = tar_xz(root, tmp_path / "new.tar.xz")
    data = new.with_suffix(".plain").read_bytes()
    blocks = [lzma.compress(data[at : at + (16 << 20)], preset=1) for at in range(0, len(data), 16 << 20)]
    assert len(blocks) == 3
    (tmp_path / "old.tar.xz").write_bytes(b"".join(blocks))
    assert differences(tmp_path / "old.tar.xz", new, tmp_path) == {("new.tar.xz", "format")}


def test_owners(tmp_path: Path) -> None:
    for uid in (0, 7):
        with tarfile.open(tmp_path / f"{uid}.tar", "w") as new:
            info = tarfile.TarInfo("a")
            info.uid = uid
            new.addfile(info)
    assert differences(tmp_path / "0.tar", tmp_path / "7.tar", tmp_path) == {("a", "owner")}


def test_owners_on_a_disk(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "t")
    ext4.make(root, tmp_path / "1.img", "16M", 1)
    ext4.make(root, tmp_path / "2.img", "16M", 1, owners={"etc/conf": (0, 42)})
    assert differences(tmp_path / "1.img", tmp_path / "2.img", tmp_path) == {("etc/conf", "owner")}


def test_only_the_times_differ(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "t")
    tree.write_tar(root, tmp_path / "1.tar", 1)
    tree.write_tar(root, tmp_path / "2.tar", 2)
    assert differences(tmp_path / "1.tar", tmp_path / "2.tar", tmp_path) == {("2.tar", "format")}


def test_plain_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    (tmp_path / "none").write_text("")
    assert differences(tmp_path / "a", tmp_path / "b", tmp_path) == {("b", "content")}
    assert differences(tmp_path / "a", tmp_path / "none", tmp_path) == {("none", "content")}
    assert differences(tmp_path / "a", tmp_path / "a", tmp_path) == set()


def test_a_damaged_archive_is_said(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "t")
    (root / "big").write_bytes(os.urandom(200_000))
    good = tar_xz(root, tmp_path / "good.tar.xz")
    (tmp_path / "bad.tar.xz").write_bytes(good.read_bytes()[:150_000])
    with pytest.raises(UsageError, match="damaged"):
        differences(good, tmp_path / "bad.tar.xz", tmp_path)
    image = disk(root, tmp_path / "good.img")
    bad = bytearray(image.read_bytes())
    bad[2048:200_000] = bytes(197_952)
    (tmp_path / "bad.img").write_bytes(bad)
    with pytest.raises(UsageError, match="damaged"):
        differences(image, tmp_path / "bad.img", tmp_path)


def test_the_verb(checkout: Checkout, tmp_path: Path) -> None:
    one, other = make_tree(tmp_path / "t1"), make_tree(tmp_path / "t2")
    assert checkout.good("diff", str(one), str(other)).out == ""
    (other / "etc/conf").write_text("three\n")
    ran = checkout.bad("diff", str(one), str(other), code=1, says=(f"{one} and {other} differ in 1 place",))
    assert ran.out == "content    etc/conf  (4, 6 bytes)\n"
    ran = checkout.xc("diff", "-o", "json", str(one), str(other))
    assert ran.code == 1
    assert json.loads(ran.out) == [{"path": "etc/conf", "kind": "content", "detail": "4, 6 bytes"}]
    checkout.bad("diff", str(one), "nowhere", code=2, says=("nowhere", "xc diff"))
    checkout.bad("diff", str(one), code=2, says=("xc diff",))
    checkout.bad("diff", "-o", "xml", str(one), str(other), code=2, says=("xml", "json"))
    assert [path.name for path in checkout.workspace.glob("*diff*")] == []


def test_releases_by_name(checkout: Checkout) -> None:
    for version, text in (("1", "a"), ("2", "b")):
        folder = checkout.workspace / "release" / version
        folder.mkdir(parents=True)
        entry = xztar.TarEntry(f"xcluster-{version}/file", text.encode())
        xztar.write_tar_xz([entry], folder / f"xcluster-{version}.tar.xz", 0)
    ran = checkout.bad("diff", "1", "2", code=1, says=())
    assert ran.out == "content    xcluster.tar.xz!file  (1 bytes both)\n"


def test_a_release_of_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xztar, "BLOCK", 5000)
    for name in ("1", "2"):
        entries = [xztar.TarEntry(f"xcluster-{name}/{n}", bytes(3000 + n)) for n in range(9)]
        entries.append(xztar.TarEntry(f"xcluster-{name}/last", name.encode()))
        xztar.write_tar_xz(entries, tmp_path / name, 1)
    assert differences(tmp_path / "1", tmp_path / "2", tmp_path) == {("last", "content")}


def test_others_read_our_xz(tmp_path: Path) -> None:
    """What we write as xz in several streams, others read."""
    path = tmp_path / "x.xz"
    content = os.urandom(1 << 20) * 20  # more than one block
    (tmp_path / "x").write_bytes(content)
    xztar.write_xz(tmp_path / "x", path)
    assert lzma.open(path).read() == content
    assert subprocess.run(["xz", "-dc", str(path)], capture_output=True, check=True).stdout == content


@pytest.mark.parametrize("name", ["new\nline", "new\ndump x", 'quo"te', "../evil", "/etcevil"])
def test_a_disk_with_names_that_lead_out_or_give_orders(tmp_path: Path, name: str) -> None:
    """debugfs takes names in a file system for its own words and paths; a stranger may have made it."""
    root, raw = tmp_path / "root", tmp_path / "disk"
    root.mkdir()
    harmless = "x" * len(name)
    (root / harmless).write_text("ours")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum", "-d", root, raw, "8M"], check=True)
    data = raw.read_bytes()
    assert data.count(harmless.encode()) == 1
    raw.write_bytes(data.replace(harmless.encode(), name.encode()))
    with pytest.raises(UsageError, match="cannot be listed|no readable"):
        listing.look(raw, tmp_path / "deep" / "scratch")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["scratch"]
    assert not Path("/etcevil").exists()
