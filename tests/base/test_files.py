"""Files that appear whole or not at all, stamps, and locks between processes."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.base import files, locks, sparse
from tasks.base.errors import UserError
from tests.conftest import ROOT, eventually


def python(script: str, *words: object) -> "subprocess.Popen[str]":
    """Another process of ours."""
    imports = ("sys, time", "tasks.base.files as files, tasks.base.locks as locks")
    head = "".join(f"import {names}\n" for names in imports)
    head += "from pathlib import Path\npath = Path(sys.argv[1])\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + script, *map(str, words)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_atomic(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/file"
    with files.atomic(path) as temp:
        temp.write_text("new")
        assert not path.exists()
        assert temp.parent == path.parent
    assert path.read_text() == "new"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["file", "file/below", "file/further/below"])
def test_a_file_that_is_in_the_way(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("kept")
    folder = tmp_path / name
    with pytest.raises(UserError, match="cannot make") as refused, files.explained(folder):
        folder.mkdir(parents=True)
    assert str(tmp_path / "file") in str(refused.value) and (tmp_path / "file").read_text() == "kept"


def test_a_path_where_nothing_can_be_made() -> None:
    folder = Path("/proc/nope")
    with pytest.raises(UserError, match="cannot make /proc/nope"), files.explained(folder):
        folder.mkdir()


def test_an_error_of_another_file_is_not_explained_as_one_of_this(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.atomic(tmp_path / "file"):
        (tmp_path / "source").read_text()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), files.atomic(path) as temp:
        temp.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "dir"
    for name in ("one", "two"):
        with files.atomic(path, directory=True) as temp:
            (temp / name).write_text(name)
    assert [each.name for each in path.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), files.atomic(path, directory=True) as temp:
        raise RuntimeError
    assert [each.name for each in tmp_path.iterdir()] == ["dir"]
    assert [each.name for each in path.iterdir()] == ["two"]


WRITER = "with files.atomic(path) as temp:\n    temp.write_text('half')\n    time.sleep(60)\n"


def test_kill_9_leaves_no_target_and_the_next_writer_sweeps(tmp_path: Path) -> None:
    path = tmp_path / "file"
    writer = python(WRITER, path)
    eventually(lambda: list(tmp_path.glob(".file.*.tmp")))
    writer.kill()
    writer.communicate()
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with files.atomic(path) as temp:
        temp.write_text("good")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_living_writer_is_not_swept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    writer = python(WRITER.replace("60", "0.5"), path)
    eventually(lambda: list(tmp_path.glob(".file.*.tmp")))
    with files.atomic(path) as temp:
        temp.write_text("first")
    assert writer.wait(60) == 0
    writer.communicate()
    assert path.read_text() == "half"


def test_a_full_disk(tiny_disk: Path) -> None:
    path = tiny_disk / "file"
    with pytest.raises(UserError, match="disk is full.*file") as caught, files.atomic(path) as temp:
        temp.write_bytes(b"x" * (1 << 20))
    assert "XCLUSTER_WORKSPACE" in str(caught.value)
    assert list(tiny_disk.iterdir()) == []


def test_a_readonly_disk(readonly: Path) -> None:
    with pytest.raises(UserError, match="cannot write.*Read-only"), files.atomic(readonly / "file"):
        pass
    with pytest.raises(UserError, match="cannot write"), files.atomic(readonly / "new/file"):
        pass
    with pytest.raises(UserError, match="cannot write"), locks.locked(readonly / "lock"):
        pass


def test_a_directory_that_is_not_writable(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write.*denied"), files.atomic(tmp_path / "file"):
        pass


def test_other_errors_pass() -> None:
    with pytest.raises(FileNotFoundError), files.explained(Path("x")):
        Path("/nowhere/at/all").read_text()


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("x")
    (tmp_path / "link").symlink_to("tree")
    (tmp_path / "tree/sub").chmod(0o500)
    files.remove(tmp_path / "link")
    assert (tmp_path / "tree").is_dir()
    files.remove(tmp_path / "tree")
    files.remove(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_equal_content_gives_equal_stamps(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "out").write_text("same")
        files.write_stamp(tmp_path / name / "stamp.json", {"out": tmp_path / name / "out"}, b=1, a=[2])
        time.sleep(0.01)
    one, two = ((tmp_path / name / "stamp.json").read_bytes() for name in ("one", "two"))
    assert one == two
    stamp = files.read_json(tmp_path / "one/stamp.json")
    assert stamp["files"]["out"] == {"sha256": files.sha256(tmp_path / "one/out"), "size": 4}
    assert (stamp["a"], stamp["b"]) == ([2], 1)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_damaged_state_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert files.read_json(tmp_path / "x.json") == {}
    assert files.read_json(tmp_path / "nothing.json") == {}


def test_digest_is_of_the_value() -> None:
    assert files.digest({"a": 1, "b": [2]}) == files.digest({"b": [2], "a": 1})
    assert files.digest(["a"]) != files.digest(["b"])


def manifest_of_a_tree(root: Path) -> None:
    (root / "dir/empty").mkdir(parents=True)
    (root / "dir/file").write_text("x")
    (root / "dir/link").symlink_to("file")


def test_tree_manifest(tmp_path: Path) -> None:
    manifest_of_a_tree(tmp_path)
    before = files.tree_manifest(tmp_path)
    assert [entry[0] for entry in before] == ["dir", "dir/empty", "dir/file", "dir/link"]
    (tmp_path / "dir/file").write_text("other content")
    os.utime(tmp_path / "dir/file", (1, 1))
    (tmp_path / "dir/file").chmod(0o664)  # another umask
    assert files.tree_manifest(tmp_path) == before
    assert files.tree_files(tmp_path) == [tmp_path / "dir/file"]


def retarget(root: Path) -> None:
    (root / "dir/link").unlink()
    (root / "dir/link").symlink_to("empty")


@pytest.mark.parametrize(
    "change",
    [
        retarget,
        lambda root: (root / "dir/file").chmod(0o755),
        lambda root: (root / "dir/empty").rmdir(),
        lambda root: (root / "new").mkdir(),
        lambda root: (root / "dir/file").rename(root / "dir/file2"),
    ],
)
def test_tree_manifest_sees(tmp_path: Path, change: Callable[[Path], None]) -> None:
    manifest_of_a_tree(tmp_path)
    before = files.tree_manifest(tmp_path)
    change(tmp_path)
    assert files.tree_manifest(tmp_path) != before


HOLDER = "with locks.locked(path):\n    print('held', flush=True)\n    time.sleep(float(sys.argv[2]))\n"


def test_a_lock_that_is_held(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    holder = python(HOLDER, lock, 60)
    assert holder.stdout and holder.stdout.readline()
    with (
        pytest.raises(UserError, match=f"somebody builds.*{holder.pid}"),
        locks.locked(lock, wait=False, busy="somebody builds"),
    ):
        pass
    holder.kill()
    holder.communicate()
    with locks.locked(lock, wait=False):  # a dead process holds nothing
        assert lock.exists()
    assert not lock.exists()


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    holder = python(HOLDER, lock, 0.3)
    assert holder.stdout and holder.stdout.readline()
    with locks.locked(lock):
        assert holder.wait(60) == 0
    holder.communicate()


COUNTER = """
for _ in range(150):
    with locks.locked(path.with_name('lock')):
        number = int(path.read_text())
        path.write_text(str(number + 1))
"""


def test_many_processes_take_turns(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    crowd = [python(COUNTER, count) for _ in range(4)]
    errors = [process.communicate(timeout=60)[1] for process in crowd]
    assert errors == [""] * 4
    assert count.read_text() == "600"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_an_exception_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locks.locked(tmp_path / "lock"):
        raise RuntimeError
    with locks.locked(tmp_path / "lock", wait=False):
        pass


def test_sigterm_cleans_up(tmp_path: Path) -> None:
    script = "from tasks.base import signals\nsignals.install(str)\n" + WRITER
    writer = python(script, tmp_path / "file")
    eventually(lambda: list(tmp_path.glob(".file.*.tmp")))
    writer.send_signal(signal.SIGTERM)
    assert writer.wait(60) == 143
    writer.communicate()
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_used_for_long_is_forgotten(tmp_path: Path) -> None:
    for age, name in enumerate(("now", "a", "b", "c", "d")):
        (tmp_path / name / "below").mkdir(parents=True)
        os.utime(tmp_path / name, (0, time.time() - age * 100))
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (0, 0))
    files.forget_old(tmp_path, 1, 150)
    assert {path.name for path in tmp_path.iterdir()} == {"now", "a", "file"}
    files.forget_old(tmp_path, 0, 50, lambda path: path.name != "now")
    assert {path.name for path in tmp_path.iterdir()} == {"now"}
    files.forget_old(tmp_path / "nothing", 1, 0)


def test_two_forget_the_same(tmp_path: Path) -> None:
    """What another process has removed in the meantime is no failure."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))

    def counts(path: Path) -> bool:
        files.remove(tmp_path / "a")
        return path.is_dir()

    files.forget_old(tmp_path, 0, 50, counts)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if os.stat(folder).st_dev == tmp_path.stat().st_dev:
            pytest.skip("/dev/shm is the file system of the tests")
        yield Path(folder)


def test_a_copy_on_another_file_system(tmp_path: Path, elsewhere: Path) -> None:
    """The kernel copies nothing between some, and holes stay holes all the same."""
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.write(b"begin")
        file.seek(8 << 20)
        file.write(b"middle" * 1000)
        file.truncate(16 << 20)
    sparse.copy(source, elsewhere / "copy")
    assert (elsewhere / "copy").read_bytes() == source.read_bytes()
    assert (elsewhere / "copy").stat().st_blocks < 1000
    files.keep(source, elsewhere / "second")
    assert files.sha256(elsewhere / "second") == files.sha256(source)
    assert (elsewhere / "second").stat().st_blocks < 1000


UNABLE = """import errno, os, sys
from pathlib import Path
from tasks.base import files, sparse
from tasks.formats import inside

def refuse(*words, **options):
    raise OSError(getattr(errno, sys.argv[1]), "not here")

os.copy_file_range = os.link = refuse
folder = Path(sys.argv[2])
(folder / "a").write_bytes(b"content" * 1000)
sparse.copy(folder / "a", folder / "b")
files.keep(folder / "a", folder / "c")
with inside.Root(folder) as root:
    root.hard_link("d", "a")
assert len({(folder / name).read_bytes() for name in "abcd"}) == 1
"""


@pytest.mark.parametrize("reason", ["EXDEV", "ENOSYS", "EOPNOTSUPP", "EPERM"])
def test_a_file_system_that_can_do_little(tmp_path: Path, reason: str) -> None:
    """The system calls are refused in a process of its own, as some file systems and sandboxes do."""
    words = [sys.executable, "-c", UNABLE, reason, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[2])}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
