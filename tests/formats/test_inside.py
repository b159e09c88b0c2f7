"""Paths are resolved inside a tree, with links at every place: compared with what a chroot does."""

import contextlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.base.errors import UserError
from tasks.formats import inside, unpack
from tests.conftest import content


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """An empty tree beside a directory that nothing may change."""
    (tmp_path / "outside/below").mkdir(parents=True)
    (tmp_path / "outside/canary").write_text("not ours")
    (tmp_path / "tree").mkdir()
    before = [content(tmp_path / "outside"), sorted(os.listdir(tmp_path))]
    yield tmp_path / "tree"
    assert [content(tmp_path / "outside"), sorted(os.listdir(tmp_path))] == before


def put(root: inside.Root, path: str, text: str = "x") -> None:
    with root.file(path, 0o644) as out:
        out.write(text.encode())


# What leads from `way` (in the tree) somewhere: the target, and where a file below it has to be.
WAYS = {
    "absolute": ("/etc/ssl", "etc/ssl/f"),
    "to the outside by its host's name": ("{outside}", "{outside}/f"),
    "above the top": ("../../../../../..", "f"),
    "above the top and down": ("../../{outside}", "{outside}/f"),
    "relative": ("a/./b/../c", "a/c/f"),
    "to the top": ("/", "f"),
    "by a link to a link": ("second/x", "etc/x/f"),
    "to itself, seen from above": ("../tree", "tree/f"),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_link_leads_inside(tree: Path, name: str) -> None:
    outside = str(tree.parent / "outside")
    target, place = (each.format(outside=outside) for each in WAYS[name])
    (tree / "second").symlink_to("/etc")
    (tree / "way").symlink_to(target)
    with inside.Root(tree) as root:
        put(root, "way/f")
        assert root.real("/way/f") == place.lstrip("/")
        root.chmod("way/f", 0o600)
    assert (tree / place.lstrip("/")).stat().st_mode & 0o777 == 0o600
    assert os.readlink(tree / "way") == target


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
@pytest.mark.parametrize("name", [name for name in WAYS if name != "above the top and down"])
def test_a_chroot_does_the_same(tree: Path, name: str) -> None:
    outside = str(tree.parent / "outside")
    target, _ = (each.format(outside=outside) for each in WAYS[name])
    for folder in ("etc/ssl", "etc/x", "a/b", "a/c", "tree", outside.lstrip("/")):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / "second").symlink_to("/etc")
    (tree / "way").symlink_to(target)
    with inside.Root(tree) as root:
        put(root, "way/f", "mine")
    reader = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); print(os.read(os.open('/way/f', 0), 9))"
    done = subprocess.run(["python3", "-c", reader, str(tree)], capture_output=True, text=True, check=False)
    assert done.stdout == "b'mine'\n", done.stderr


@pytest.mark.parametrize("loop", [{"a": "a"}, {"a": "b", "b": "/a"}, {"a": "a/x"}])
def test_links_that_lead_to_themselves(tree: Path, loop: dict[str, str]) -> None:
    for name, target in loop.items():
        (tree / name).symlink_to(target)
    with inside.Root(tree) as root:
        with pytest.raises(UserError, match="too many symbolic links"):
            put(root, "a/b/f")
        assert not root.is_directory("a") and not root.is_file("a") and root.is_taken("a")
        root.directory("a")  # a directory replaces it
        put(root, "a/f")
    assert (tree / "a/f").is_file()


def test_what_is_replaced_and_what_is_not(tree: Path) -> None:
    (tree / "file").write_text("old")
    (tree / "to_file").symlink_to("/file")
    (tree / "full/below").mkdir(parents=True)
    (tree / "empty").mkdir()
    with inside.Root(tree) as root:
        put(root, "file/now/a/directory")
        with pytest.raises(UserError, match="directory"):
            put(root, "full")
        with pytest.raises(UserError, match="directory"):
            root.symlink("full", "/etc")
        root.symlink("empty", "full")
        put(root, "empty/f")
        put(root, "to_file/x")  # the link leads to a directory by now
        with pytest.raises(UserError, match="directory"):
            put(root, "/")
        with pytest.raises(UserError, match="directory"):
            put(root, "..")
    assert (tree / "full/f").is_file() and (tree / "file/x").is_file()


@pytest.mark.parametrize("path", ["a" * 256, "a\0b", "ok/" + "ä" * 128, "x/\ud800"])
def test_names_that_no_file_can_have(tree: Path, path: str) -> None:
    with inside.Root(tree) as root, pytest.raises(UserError, match="cannot be the name"):
        put(root, path)


@pytest.mark.parametrize(
    "path", ["a\nb", "a\\b", "-rf", "a b", "ä", os.fsdecode(b"\xff\xfe"), "d/" * 1500 + "f"]
)
def test_odd_names(tree: Path, path: str) -> None:
    with inside.Root(tree) as root:
        put(root, path, "odd")
        assert root.read(path) == b"odd"
    subprocess.run(["rm", "-rf", str(tree / path.split("/")[0])], check=True)


EXCHANGE = """
import contextlib, os, sys
os.chdir(sys.argv[1])
while True:
    for one, other in (("d", "spare"), ("link", "d"), ("d", "link"), ("spare", "d")):
        with contextlib.suppress(OSError):
            os.rename(one, other)
"""


def test_races(tree: Path) -> None:
    """Somebody exchanges a directory and a link to the outside all the time."""
    outside = tree.parent / "outside"
    (tree / "d").mkdir()
    (tree / "link").symlink_to(outside)
    attacker = subprocess.Popen([sys.executable, "-c", EXCHANGE, str(tree)])
    try:
        with inside.Root(tree) as root:
            for number in range(2000):
                with contextlib.suppress(OSError, UserError):
                    put(root, f"d/{number}")
                    root.directory("d/below")
                    root.chmod("d/below", 0o700)
                    root.remove(f"d/{number}")
    finally:
        attacker.kill()
        attacker.wait()
    assert (outside / "below").stat().st_mode & 0o777 == 0o755


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", text: bytes = b"", mode: int = 0o644
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode, entry.size = kind, link, mode, len(text)
    entry.devmajor, entry.devminor = 1, 3
    return entry


def archive(path: Path, *entries: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


S, H, D, C, F = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE
ONE = b"1"
ATTACKS: dict[str, Callable[[str], list[tarfile.TarInfo]]] = {
    "link, then a file below": lambda out: [member("l", S, out), member("l/f", text=ONE)],
    "link, then a directory and a file": lambda out: [
        member("l", S, out), member("l/", D), member("l/f", text=ONE),
    ],
    "link, then a file of its name": lambda out: [member("l", S, f"{out}/canary"), member("l", text=ONE)],
    "hard link to a link, then a file": lambda out: [
        member("l", S, f"{out}/canary"), member("h", H, "l"), member("h", text=ONE),
    ],
    "hard link through a link": lambda out: [
        member("l", S, out), member("l/canary", text=ONE), member("h", H, "l/canary"),
    ],
    "dots": lambda out: [member("../outside/f", text=ONE), member("../../../f", text=ONE)],
    "absolute": lambda out: [member(f"{out}/canary", text=ONE)],
    "dots behind a link": lambda out: [member("a/b/l", S, ".."), member("a/b/l/../../../x/f", text=ONE)],
    "device and pipe": lambda out: [member("l", S, out), member("l/null", C), member("l/pipe", F)],
    "mode of a directory behind a link": lambda out: [member("l", S, out), member("l/below", D, mode=0o700)],
    "chain": lambda out: [
        member("a", S, "b"), member("b", S, "/../.."), member("c", S, out), member("a/c/f", text=ONE),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_members_that_try_to_get_out(tree: Path, name: str) -> None:
    outside = tree.parent / "outside"
    source = archive(tree.parent / "in.tar", *ATTACKS[name](str(outside)))
    try:
        unpack.tar(source, tree)
    finally:
        source.unlink()
    assert (outside / "below").stat().st_mode & 0o777 == 0o755


def test_bits_and_kinds_that_are_kept(tree: Path) -> None:
    entries = [
        member("su", text=ONE, mode=0o4755), member("sg", text=ONE, mode=0o2755), member("d", D, mode=0o1777),
        member("e", D, mode=0o2775), member("none", text=ONE, mode=0), member("pipe", F, mode=0o622),
        member("null", C, mode=0o666), member("su2", H, "su"), member("gone", C), member("gone", text=ONE),
    ]  # fmt: skip
    source = archive(tree.parent / "in.tar", *entries)
    devices = unpack.tar(source, tree)
    source.unlink()
    modes = {path.name: path.lstat().st_mode & 0o7777 for path in tree.iterdir()}
    assert modes == {
        "su": 0o4755, "sg": 0o2755, "d": 0o1777, "e": 0o2775, "none": 0o400, "pipe": 0o622, "su2": 0o4755,
        "gone": 0o644,
    }  # fmt: skip
    assert devices == {"null": ("c", 1, 3, "666")}
    assert (tree / "su").stat().st_ino == (tree / "su2").stat().st_ino


def test_a_hard_link_to_nothing(tree: Path) -> None:
    source = archive(tree.parent / "in.tar", member("h", H, "nothing"))
    with pytest.raises(UserError, match="hard link to nothing"):
        unpack.tar(source, tree)
    source.unlink()


def test_the_source_of_a_kernel(tree: Path) -> None:
    """One directory is left out, times are kept: make goes by them."""
    top = member("linux-1/Makefile", text=ONE)
    top.mtime = 1234567
    link = member("linux-1/.mark", S, str(tree.parent / "outside/canary"))
    below = member("linux-1/.mark/x", text=ONE)
    source = archive(
        tree.parent / "in.tar", member("linux-1", D), top, link, member("linux-1/h", H, "linux-1/Makefile")
    )
    unpack.source(source, tree)
    assert (tree / "Makefile").stat().st_mtime == 1234567 and (tree / "h").samefile(tree / "Makefile")
    archive(source, link, below)
    with contextlib.suppress(UserError):
        unpack.source(source, tree)
    source.write_bytes(b"no tar")
    with pytest.raises(UserError, match="cannot unpack"):
        unpack.source(source, tree)
    source.unlink()
