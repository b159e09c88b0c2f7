"""Releases: archives with the same bytes, what is refused, and what counts as done where one was unpacked."""

import errno
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.errors import CommandError, UserError
from tasks.build.release import git, wheels
from tasks.formats import xztar
from tests.conftest import ROOT, Checkout, Fakes, content, new_checkout, temporary

SHIP = """
import pathlib, sys
sys.argv = ["xc"]
import dodo
from tasks.base import files
from tasks.build.release import shipped
location = shipped.Location(dodo.project.root, dodo.project.workspace)
tasks = shipped.closure(list(dodo._builds()), ["mkcdrom"])
paths = [p for p in files.tree_files(location.root / "ovl")]
paths += [pathlib.Path(target) for task in tasks.values() for target in task["targets"]]
manifest = shipped.manifest(tasks, location, {location.packed(path): path for path in paths})
files.write_json(location.workspace.shipped, {"version": "1.0", "environ": {}, **manifest})
"""


def entries(folder: Path) -> list[xztar.TarEntry]:
    folder.mkdir(parents=True)
    (folder / "big").write_bytes(b"0123456789abcdef" * (3 << 20))  # three blocks
    (folder / "run").write_text("#!/bin/sh\n")
    return [
        xztar.TarEntry("x/run", folder / "run", executable=True),
        xztar.TarEntry("x/big", folder / "big"),
        xztar.TarEntry("x/link", link="run"),
        xztar.TarEntry("x.y/text", b"text"),
    ]


def test_the_same_bytes_whoever_and_wherever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    xztar.write_tar_xz(entries(tmp_path / "one"), tmp_path / "1.tar.xz", 7)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    mask = os.umask(0o077)
    try:
        other = entries(tmp_path / "another place")
        os.utime(tmp_path / "another place/big", (1, 1))
        xztar.write_tar_xz(reversed(other), tmp_path / "2.tar.xz", 7)
    finally:
        os.umask(mask)
    assert files.sha256(tmp_path / "1.tar.xz") == files.sha256(tmp_path / "2.tar.xz")


def test_what_is_in_an_archive(tmp_path: Path) -> None:
    xztar.write_tar_xz(entries(tmp_path / "one"), tmp_path / "1.tar.xz", 7)
    with tarfile.open(tmp_path / "1.tar.xz") as tar:
        members = {member.name: member for member in tar}
        assert list(members) == ["x", "x/big", "x/link", "x/run", "x.y", "x.y/text"]
        assert {(m.uid, m.gid, m.uname, m.mtime) for m in members.values()} == {(0, 0, "", 7)}
        assert [members[name].mode for name in ("x", "x/big", "x/run")] == [0o755, 0o644, 0o755]
        assert members["x/link"].linkname == "run"
    unpacking = subprocess.run(["tar", "-xJf", tmp_path / "1.tar.xz", "-C", tmp_path], check=False)
    assert unpacking.returncode == 0 and (tmp_path / "x/big").stat().st_size == 48 << 20


def test_an_empty_file_as_xz(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    xztar.write_xz(tmp_path / "empty", tmp_path / "empty.xz")
    assert lzma.open(tmp_path / "empty.xz").read() == b""


def test_blocks_are_unpacked_by_all_processors(tmp_path: Path) -> None:
    """Three blocks whose headers say how long they are, in one stream that every program reads whole."""
    xztar.write_tar_xz(entries(tmp_path / "one"), tmp_path / "1.tar.xz", 7)
    listed = subprocess.run(
        ["xz", "--list", "--robot", tmp_path / "1.tar.xz"], capture_output=True, text=True
    )
    (totals,) = [line.split("\t") for line in listed.stdout.splitlines() if line.startswith("totals")]
    assert (totals[1], totals[2]) == ("1", "4")
    with tarfile.open(tmp_path / "1.tar.xz", "r|xz") as tar:
        assert [member.name for member in tar][-1] == "x.y/text"


def test_an_interrupted_writer_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), xztar.compressed(tmp_path / "x.xz") as sink:
        sink.write(os.urandom(3 << 20))
        raise KeyboardInterrupt
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not [pid for pid in children if Path(f"/proc/{pid}/comm").read_text() == "xz\n"]


def test_xz_that_fails(fakes: Fakes, tmp_path: Path) -> None:
    fakes.program("xz", "echo 'xz: it broke' >&2; exit 1")
    (tmp_path / "x").write_bytes(os.urandom(3 << 20))
    with pytest.raises(CommandError, match="it broke"):
        xztar.write_xz(tmp_path / "x", tmp_path / "x.xz")


def test_a_full_disk(tiny_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(1 << 20))
    with pytest.raises(OSError) as caught:
        xztar.write_xz(tmp_path / "noise", tiny_disk / "noise.xz")
    assert caught.value.errno == errno.ENOSPC


def run_git(root: Path, *words: str) -> None:
    own = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", root, *own, *words], check=True, capture_output=True)


@pytest.fixture
def repository(checkout: Checkout) -> Checkout:
    """The project as a git checkout with one commit."""
    checkout.write(".gitignore", "/workspace/\n__pycache__/\n/home/\n/xcluster.yaml\n")
    run_git(checkout.root, "init")
    run_git(checkout.root, "add", "--all")
    run_git(checkout.root, "commit", "-m", "one")
    return checkout


def test_the_version(repository: Checkout) -> None:
    tree = git.look(repository.root)
    assert tree.version == f"0.1.0-g{tree.commit[:8]}"
    assert not tree.changed and not tree.untracked
    run_git(repository.root, "tag", "v1.0")
    assert git.look(repository.root).version == "v1.0"
    repository.write("ovl/a/default/etc/a.conf", "changed\n")
    repository.write("ovl/new/default/x", "x\n")
    tree = git.look(repository.root)
    assert tree.version == "v1.0-dirty"
    assert tree.changed == ("ovl/a/default/etc/a.conf",) and tree.untracked == ("ovl/new/default/x",)
    assert ("ovl/a/default/bin/run", "100755") in tree.tracked
    assert "ovl/new/default/x" not in dict(tree.tracked)


def test_a_tracked_file_that_was_deleted_is_not_in_the_tree(repository: Checkout) -> None:
    (repository.root / "ovl/b/default/etc/b.conf").unlink()
    tree = git.look(repository.root)
    assert tree.changed == ("ovl/b/default/etc/b.conf",) and "ovl/b/default/etc/b.conf" not in dict(
        tree.tracked
    )


def test_without_git(checkout: Checkout) -> None:
    checkout.bad("release", code=1, says=("not a git checkout with a commit", "clone"))
    run_git(checkout.root, "init")
    checkout.bad("release", code=1, says=("not a git checkout with a commit",))


def test_inside_of_another_checkout(tmp_path: Path) -> None:
    (tmp_path / "outer/inner").mkdir(parents=True)
    (tmp_path / "outer/inner/pyproject.toml").write_text('[project]\nversion = "1"\n')
    run_git(tmp_path / "outer", "init")
    run_git(tmp_path / "outer", "add", "--all")
    run_git(tmp_path / "outer", "commit", "-m", "x")
    with pytest.raises(UserError, match="inside of"):
        git.look(tmp_path / "outer/inner")


@pytest.mark.parametrize(
    "version", ["../x", "a/b", "a b", "-x", ".hidden", "ü", "x\n", "$(id)", "a" * 65, ";"]
)
def test_odd_versions(repository: Checkout, version: str) -> None:
    repository.bad(
        "release", f"--version={version}", code=2, says=("cannot be the name of a release", "letters")
    )
    assert not (repository.workspace / "release").exists()


def test_unknown_words(repository: Checkout) -> None:
    repository.bad("release", "aa", code=2, says=("unknown overlay 'aa'", "Did you mean 'a'"))
    repository.bad("release", "--versoin=1", code=2, says=("--versoin", "--version"))
    repository.bad("release", "--kernel=debain", code=2, says=("debain", "debian"))


def test_what_a_release_cannot_bring(repository: Checkout, tmp_path: Path) -> None:
    outside = tmp_path / "outside/c"
    (outside / "default").mkdir(parents=True)
    (outside / "default/x").write_text("x")
    repository.write("ovl/new/default/x", "x\n")
    repository.good("mkcdrom", "new", str(outside), env={"GOPATH": "/home/me/go"})
    ran = repository.bad("release", "--version=1", code=1, says=("would lack files that it needs", "git add"))
    for problem in (
        f"{outside} is outside",
        "ovl/new/default/x, which git does not track",
        "GOPATH=/home/me/go",
    ):
        assert problem in ran.err
    assert not (repository.workspace / "release").exists()


def test_pins_are_what_is_installed_here() -> None:
    pins = wheels.pins(ROOT / "pyproject.toml")
    assert {"doit", "pydantic", "pydantic-core", "pip"} <= set(pins)
    assert "pytest" not in pins and "mypy" not in pins
    assert pins["doit"].startswith("0.3")


@pytest.fixture(scope="session")
def shipped_project(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A project in which a release has been made ready, as it is before it is packed."""
    project = new_checkout(code, tmp_path_factory.mktemp("release") / "project")
    project.good("mkcdrom", "a", "b")
    ship(project)
    return project


def ship(project: Checkout, **more: str) -> None:
    """Write what a release says of the files that it brings."""
    env = {**os.environ, **more, "PYTHONPATH": str(project.root), "HOME": str(project.root / "home")}
    subprocess.run([sys.executable, "-c", SHIP], cwd=project.root, env=env, check=True)


@pytest.fixture
def unpacked(shipped_project: Checkout, tmp_path: Path) -> Checkout:
    """A project as a release brings it to another place: no record of doit, other times, another umask."""
    shutil.copytree(shipped_project.root, tmp_path / "project", symlinks=True)
    return move(Checkout(tmp_path / "project"), tmp_path / "some where" / "else")


def move(checkout: Checkout, to: Path, *, fresh: bool = True) -> Checkout:
    shutil.move(checkout.root, to)
    for path in to.rglob("*"):
        if fresh:
            path.chmod(path.stat().st_mode & 0o700)
            os.utime(path, (1_000_000_000, 1_000_000_000))
    if fresh:
        (to / "workspace/doit.db").unlink()
    return Checkout(to)


def test_what_a_release_brings_is_not_built(unpacked: Checkout) -> None:
    before = content(unpacked.workspace / "ovl")
    assert unpacked.good("mkcdrom", "a", "b").tasks == set()
    assert unpacked.good("mkcdrom", "a", "b").tasks == set()
    assert content(unpacked.workspace / "ovl") == before
    assert "1.0" in unpacked.xc("doctor").out


def test_an_edit_there_builds_that_and_no_more(unpacked: Checkout) -> None:
    unpacked.write("ovl/a/default/etc/a.conf", "mine\n")
    assert unpacked.good("mkcdrom", "a", "b").tasks == {"ovl:a", "mkcdrom"}
    assert unpacked.good("mkcdrom", "a", "b").tasks == set()
    output = unpacked.xc("doctor").out
    assert "1 files edited: ovl/a/default/etc/a.conf" in output and "as the release brought it" not in output


def test_other_words_there(unpacked: Checkout) -> None:
    assert unpacked.good("mkcdrom", "b").tasks == {"mkcdrom"}
    assert unpacked.good("mkcdrom", "a", "b").tasks == {"mkcdrom"}
    assert unpacked.good("mkcdrom", "a", "b", "--name=x").tasks == {"mkcdrom"}


def test_it_may_be_moved_again(unpacked: Checkout, tmp_path: Path) -> None:
    unpacked.good("mkcdrom", "a", "b")
    unpacked.write("ovl/b/default/etc/b.conf", "mine\n")
    unpacked.good("mkcdrom", "a", "b")
    moved = move(unpacked, tmp_path / "third", fresh=False)
    assert "ovl:a" not in moved.good("mkcdrom", "a", "b").tasks
    assert moved.good("mkcdrom", "a", "b").tasks == set()


def test_clean_there_builds_anew(unpacked: Checkout) -> None:
    unpacked.good("clean")
    assert unpacked.good("mkcdrom", "a", "b").tasks == {"ovl:a", "ovl:b", "mkcdrom"}


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_release_is_said(unpacked: Checkout, damage: str) -> None:
    path = unpacked.tar("a")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + (b"x" if damage == "changed" else b""))
    for _ in range(2):
        unpacked.bad("mkcdrom", "a", "b", code=1, says=("damaged", str(path), "unpack it again"))
    assert "workspace/ovl/a.tar" in unpacked.xc("doctor").out
    (unpacked.workspace / "shipped.json").unlink()
    assert unpacked.good("mkcdrom", "a", "b").tasks == {"ovl:a", "ovl:b", "mkcdrom"}
    assert temporary(unpacked.workspace) == []


def test_a_damaged_manifest_is_as_none(unpacked: Checkout) -> None:
    (unpacked.workspace / "shipped.json").write_text('{"tasks": ')
    assert unpacked.good("mkcdrom", "a", "b").tasks == {"ovl:a", "ovl:b", "mkcdrom"}


def test_what_decides_bytes_comes_with_it(checkout: Checkout, tmp_path: Path) -> None:
    env = {"SOURCE_DATE_EPOCH": "86400"}
    checkout.good("mkcdrom", "a", "b", env=env)
    ship(checkout, **env)
    manifest = checkout.workspace / "shipped.json"
    files.write_json(manifest, {**files.read_json(manifest), "environ": env})
    there = move(checkout, tmp_path / "there")
    assert there.good("mkcdrom", "a", "b").tasks == set()
    assert there.good("mkcdrom", "a", "b", env={"SOURCE_DATE_EPOCH": "1"}).tasks == {
        "ovl:a",
        "ovl:b",
        "mkcdrom",
    }
