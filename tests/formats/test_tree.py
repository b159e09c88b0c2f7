"""Trees laid over each other and written as tar: always the same bytes, and nothing that leads out."""

import io
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.base.errors import UserError
from tasks.build.sources.apt import Package
from tasks.formats import inside, tree, unpack
from tests.conftest import ROOT

EPOCH = 1735689600


def fill(root: Path, order: int = 1, mode: int = 0o644) -> Path:
    """A small tree; its files are made in this or the other order."""
    root.mkdir(parents=True)
    for name in ["b/file", "a/deep/file", "zz", "a-b/x", "a/b"][::order]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        (root / name).chmod(mode)
    (root / "a/run").write_text("#!/bin/sh\n")
    (root / "a/run").chmod(0o777)
    (root / "link").symlink_to("/nowhere")
    (root / "dirlink").symlink_to("a")
    return root


def test_the_same_tree_is_the_same_tar(tmp_path: Path) -> None:
    one, other = fill(tmp_path / "one"), tmp_path / "other"
    mask = os.umask(0o077)
    try:
        fill(tmp_path / "raw", order=-1, mode=0o640)
        tree.lay_over(tmp_path / "raw", other)
        tree.lay_over(one, tmp_path / "one.plain")
    finally:
        os.umask(mask)
    for path in other.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    assert tree.write_tar(tmp_path / "one.plain", tmp_path / "1.tar", EPOCH) == tree.write_tar(
        other, tmp_path / "2.tar", EPOCH
    )
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_what_a_tar_says(tmp_path: Path) -> None:
    tree.lay_over(fill(tmp_path / "raw"), tmp_path / "plain")
    tree.write_tar(tmp_path / "plain", tmp_path / "x.tar", EPOCH)
    with tarfile.open(tmp_path / "x.tar") as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert list(members) == sorted(members, key=lambda name: name.split("/"))
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members.values()} == {(0, 0, "", "", EPOCH)}
    assert (members["a/run"].mode, members["zz"].mode, members["a"].mode) == (0o755, 0o644, 0o755)
    assert members["link"].linkname == "/nowhere" and members["dirlink"].issym()


def test_later_trees_win(tmp_path: Path) -> None:
    low, high, out = tmp_path / "low", tmp_path / "high", tmp_path / "out"
    fill(low)
    (high / "b").mkdir(parents=True)
    (high / "b/file").write_text("high")
    (high / "zz").symlink_to("b/file")
    (high / "link").write_text("no link any more")
    for each in (low, high):
        tree.lay_over(each, out)
    assert (out / "b/file").read_text() == "high"
    assert (out / "zz").is_symlink() and not (out / "link").is_symlink()
    assert (low / "zz").read_text() == "zz"


def test_a_directory_over_a_file_and_a_file_over_a_directory(tmp_path: Path) -> None:
    fill(tmp_path / "low")
    (tmp_path / "high/zz/sub").mkdir(parents=True)
    tree.lay_over(tmp_path / "high", tmp_path / "low")
    assert (tmp_path / "low/zz/sub").is_dir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a").write_text("x")
    with pytest.raises(UserError, match="bad/a.*directory"):
        tree.lay_over(tmp_path / "bad", tmp_path / "low")


def test_put_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    (tmp_path / "root").mkdir()
    with inside.Root(tmp_path / "root") as root:
        tree.put_file(tmp_path / "x", root, "usr/bin/x", executable=True)
        tree.put_file(tmp_path / "x", root, "/usr/bin/x", executable=False)
    assert (tmp_path / "root/usr/bin/x").stat().st_mode & 0o777 == 0o644


def test_a_second_name_takes_no_room(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(bytes(100_000))
    (tmp_path / "root").mkdir()
    with inside.Root(tmp_path / "root") as root:
        tree.put_file(tmp_path / "program", root, "usr/bin/one", executable=True)
        root.hard_link("usr/sbin/two", "usr/bin/one")
    tree.write_tar(tmp_path / "root", tmp_path / "out.tar", 1)
    with tarfile.open(tmp_path / "out.tar") as tar:
        two = tar.getmember("usr/sbin/two")
        assert two.islnk() and two.linkname == "usr/bin/one" and two.mode == 0o755
    assert (tmp_path / "out.tar").stat().st_size < 150_000


def tarred(path: Path, *names: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: str = "w") -> Path:
    """A tar made by somebody else."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name in names:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.uid, member.uname, member.mtime = kind, link, 1000, "me", 99
            content = name.encode() if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_adopt(tmp_path: Path, mode: str) -> None:
    source = tarred(tmp_path / "in", "z", "./a/b", mode=mode)
    assert tree.adopt_tar(source, tmp_path / "out", "in", EPOCH) == 2
    with tarfile.open(tmp_path / "out", "r:") as tar:
        members = tar.getmembers()
        content = tar.extractfile(members[0])
        assert content and content.read() == b"z"
    assert [member.name.removeprefix("./") for member in members] == ["z", "a/b"]  # order counts
    assert {(m.uid, m.uname, m.mtime) for m in members} == {(0, "", EPOCH)}


def test_adopted_bytes_do_not_depend_on_who_made_it(tmp_path: Path) -> None:
    for name, mode in (("1", "w"), ("2", "w:xz")):
        tree.adopt_tar(
            tarred(tmp_path / f"in{name}", "a", "b", mode=mode), tmp_path / f"out{name}", "in", EPOCH
        )
    assert (tmp_path / "out1").read_bytes() == (tmp_path / "out2").read_bytes()


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a/.."])
def test_paths_that_lead_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="leads out") as caught:
        tree.adopt_tar(tarred(tmp_path / "in", "good", name), tmp_path / "out", "my-overlay", EPOCH)
    assert "my-overlay" in str(caught.value)


@pytest.mark.parametrize("link", ["../../etc/shadow", "/etc/shadow"])
def test_hard_links_that_lead_out(tmp_path: Path, link: str) -> None:
    """Python's data filter refuses them; one in an image would be a link to a file of the host."""
    source = tarred(tmp_path / "in", "x", kind=tarfile.LNKTYPE, link=link)
    with pytest.raises(UserError, match="leads out"):
        tree.adopt_tar(source, tmp_path / "out", "in", EPOCH)


def test_links_within_are_kept(tmp_path: Path) -> None:
    source = tarred(tmp_path / "in", "usr/bin/x", kind=tarfile.SYMTYPE, link="../../lib/x")
    assert tree.adopt_tar(source, tmp_path / "out", "in", EPOCH) == 1


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes(b ^ 0xFF for b in data[at : at + 64]) + data[at + 64 :]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("harm", [cut, flip])
def test_damaged_tars(tmp_path: Path, mode: str, harm: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "in"
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        member = tarfile.TarInfo("x")
        text = b"".join(b"%d " % (number * number) for number in range(20000))
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    if mode == "w" and harm is flip:
        pytest.skip("a plain tar has no checksum of its content")
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(UserError, match="no tar|damaged"):
        tree.adopt_tar(path, tmp_path / "out", "in", EPOCH)


@pytest.mark.parametrize("data", [b"garbage" * 1000, b"\x1f\x8b garbage", lzma.compress(b"no tar in here")])
def test_garbage(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in").write_bytes(data)
    with pytest.raises(UserError, match="no tar"):
        tree.adopt_tar(tmp_path / "in", tmp_path / "out", "in", EPOCH)


@pytest.mark.parametrize("names", [(), ("./",), (".",)])
def test_empty(tmp_path: Path, names: tuple[str, ...]) -> None:
    source = tarred(tmp_path / "in", *names, kind=tarfile.DIRTYPE)
    with pytest.raises(UserError, match="empty"):
        tree.adopt_tar(source, tmp_path / "out", "in", EPOCH)
    assert tree.adopt_tar(source, tmp_path / "out", "in", EPOCH, allow_empty=True) <= 1


def package(folder: Path, size: int = 1000) -> Package:
    """A Debian package made here."""
    root = folder / "pkg"
    for name in ("usr/bin/tool", "usr/share/doc/tool/README", "usr/lib/tool/data", "DEBIAN/control"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.urandom(size))
    (root / "usr/bin/tool").chmod(0o4755)
    (root / "DEBIAN/control").write_text(
        "Package: tool\nVersion: 1\nArchitecture: amd64\nMaintainer: me <m@e>\nDescription: x\n"
    )
    deb = folder / "tool_1_amd64.deb"
    subprocess.run(
        ["dpkg-deb", "-Znone", "--root-owner-group", "-b", str(root), str(deb)],
        check=True,
        capture_output=True,
    )
    return Package("tool", "1", "", size, str(deb))


needs_dpkg = pytest.mark.skipif(not proc.find("dpkg-deb"), reason="dpkg-deb is not installed")


@needs_dpkg
def test_unpack(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    unpack.debs([package(tmp_path).path], tmp_path / "out", drop=["usr/lib/tool"])
    assert [
        str(p.relative_to(tmp_path / "out")) for p in sorted(tmp_path.glob("out/**/*")) if p.is_file()
    ] == ["usr/bin/tool"]
    assert (tmp_path / "out/usr/bin/tool").stat().st_mode & 0o7777 == 0o4755


@needs_dpkg
def test_unpack_what_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "bad.deb").write_text("x")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"cannot unpack.*bad\.deb"):
        unpack.debs([tmp_path / "bad.deb"], tmp_path / "out")


UNPACK = """
import sys
from pathlib import Path
from tasks.formats import unpack
unpack.debs([sys.argv[1]], Path(sys.argv[2]))
"""


@needs_dpkg
def test_unpack_ends_when_a_file_cannot_be_placed(tmp_path: Path) -> None:
    """More than a pipe holds, and nobody who reads the rest: nobody may wait for the other."""
    (tmp_path / "out/usr/bin/tool/x").mkdir(parents=True)
    command = [sys.executable, "-c", UNPACK, package(tmp_path, 1 << 20).path, str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, timeout=60, capture_output=True, text=True, check=False)
    assert "usr/bin/tool is a file, but it would replace the directory" in done.stderr
