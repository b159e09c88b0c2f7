"""What no cluster owns is found and ended; and a cluster is stopped wherever its workspace is by now."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import helper, process_facts
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tasks.run.cluster import ending, leftovers
from tasks.run.cluster.leftovers import Leftover
from tasks.run.running import processes
from tests.conftest import eventually, mounted
from tests.run.running.clusters import started

ONE = Settings(name="one", nvm=1, nrouters=0, net="userspace", dns="off")
NOBODY = 65534


class Sleeping:
    """Processes that are started as a cluster's helpers are: with its mark, and a log in its directory."""

    def __init__(self) -> None:
        self.all: list[subprocess.Popen[bytes]] = []

    def start(self, directory: Path, *prefix: str) -> "subprocess.Popen[bytes]":
        """One more."""
        env = {**os.environ, **helper.environment(directory)}
        with (directory / "log").open("ab") as log:
            process = subprocess.Popen([*prefix, "sleep", "600"], env=env, stdout=log, stderr=log)
        self.all.append(process)
        mark = f"{helper.MARK}={directory}".encode()
        eventually(lambda: mark in Path(f"/proc/{process.pid}/environ").read_bytes())
        eventually(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes()[:6])
        return process

    def end(self) -> None:
        """End them all."""
        for process in self.all:
            process.kill()
            process.wait()


@pytest.fixture
def sleeping() -> Iterator[Sleeping]:
    """For a test."""
    each = Sleeping()
    yield each
    each.end()


def place(folder: Path) -> Workspace:
    """A workspace with the files of cluster `one`."""
    workspace = Workspace(folder)
    started(workspace, ONE)
    return workspace


def ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it is no more; as its parent we see it as a zombie."""
    return process_facts.started_at(process.pid) is None


def left(workspace: Workspace, kind: str) -> list[Leftover]:
    """The leftovers of a kind, of this test alone."""
    own = str(workspace.root.parent)
    return [each for each in leftovers.every(workspace) if each.kind == kind and own in each.what + each.why]


def test_a_workspace_that_was_moved(tmp_path: Path, sleeping: Sleeping) -> None:
    process = sleeping.start(place(tmp_path / "a").cluster("one").root)
    (tmp_path / "a").rename(tmp_path / "b")
    moved = Workspace(tmp_path / "b")
    assert left(moved, "process") == [], "its cluster is there"
    assert processes.clusters(moved) == {"one"}
    assert ending.stop(moved, "one")
    assert ended(process) and list(moved.run.iterdir()) == []


def test_a_workspace_that_was_removed(tmp_path: Path, sleeping: Sleeping) -> None:
    process = sleeping.start(place(tmp_path / "a").cluster("one").root)
    shutil.rmtree(tmp_path / "a")
    other = Workspace(tmp_path / "b")
    (stray,) = left(other, "process")
    assert str(process.pid) in stray.what and str(tmp_path / "a/run/one") in stray.why
    leftovers.remove([stray])
    assert ended(process) and left(other, "process") == []


def test_what_is_anothers_is_told_and_not_touched(tmp_path: Path, sleeping: Sleeping) -> None:
    if os.getuid():
        pytest.skip("root alone can start a process of another user")
    directory = place(tmp_path / "a").cluster("one").root
    process = sleeping.start(directory, "setpriv", "--reuid=65534", "--clear-groups")
    shutil.rmtree(tmp_path / "a")
    (stray,) = left(Workspace(tmp_path / "b"), "process")
    assert stray.end is None and "nobody" in stray.why
    leftovers.remove([stray])
    assert not ended(process)


def test_a_cluster_that_runs_in_another_workspace_is_left_alone(tmp_path: Path, sleeping: Sleeping) -> None:
    there = place(tmp_path / "a")
    process = sleeping.start(there.cluster("one").root)
    here = Workspace(tmp_path / "b")
    assert left(here, "process") == []
    assert not ending.stop(here, "one") and not ended(process)


def test_files_that_nobody_writes(tmp_path: Path) -> None:
    workspace = place(tmp_path / "a")
    there = workspace.root / "iso"
    there.mkdir()
    own = there / f".x.{os.getpid()}.tmp"
    for name in (".x.4194303.tmp", own.name, "y.part", "y.lock", "y.iso"):
        (there / name).touch()
    (there / ".tree.4194303.tmp").mkdir()
    of_guests = [
        workspace.rootfs("base") / "x/var/a.lock",
        workspace.cluster("one").node(1).root / "layer/b.lock",
    ]
    for path in of_guests:
        path.parent.mkdir(parents=True)
        path.touch()
    found = {Path(each.what).name: each for each in left(workspace, "file") + left(workspace, "lock")}
    assert set(found) == {".x.4194303.tmp", ".tree.4194303.tmp", "y.part", "y.lock"}
    (cluster,) = left(workspace, "cluster")
    leftovers.remove([*found.values(), cluster])
    assert sorted(path.name for path in there.iterdir()) == sorted([own.name, "y.iso"])
    assert list(workspace.run.iterdir()) == []


def test_a_stopped_process_is_ended_too(tmp_path: Path, sleeping: Sleeping) -> None:
    workspace = place(tmp_path / "a")
    process = sleeping.start(workspace.cluster("one").root)
    process.send_signal(signal.SIGSTOP)
    assert ending.stop(workspace, "one") and ended(process)


def test_a_number_that_another_process_has_now(tmp_path: Path, sleeping: Sleeping) -> None:
    """The process of node.json is one of ours, by its number; it began at another time."""
    workspace = Workspace(tmp_path / "a")
    stranger = subprocess.Popen(["sleep", "600"])
    sleeping.all.append(stranger)
    began = process_facts.started_at(stranger.pid)
    assert began
    started(workspace, ONE, pid=stranger.pid, start=began - 1)
    assert ending.stop(workspace, "one") and not ended(stranger)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    yield from mounted(tmp_path / "memory", "size=128k")


def test_a_full_disk_keeps_nobody_from_stopping(memory: Path, sleeping: Sleeping) -> None:
    workspace = place(memory / "a")
    process = sleeping.start(workspace.cluster("one").root)
    with contextlib.suppress(OSError), (memory / "filler").open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    assert ending.stop(workspace, "one")
    assert ended(process) and list(workspace.run.iterdir()) == []


def test_a_read_only_disk_keeps_the_files_and_no_process(
    memory: Path, sleeping: Sleeping, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = place(memory / "a")
    process = sleeping.start(workspace.cluster("one").root)
    again = ["mount", "-o", "remount,ro,bind", str(memory)]  # what is open for writing stays so
    subprocess.run(["mount", "--bind", str(memory), str(memory)], check=True)
    try:
        subprocess.run(again, check=True)
        with pytest.raises(UserError, match="all processes of cluster 'one' have ended, but its files stay"):
            ending.stop(workspace, "one")
    finally:
        subprocess.run(["umount", str(memory)], check=True)
    assert ended(process) and "without a lock" in capsys.readouterr().err
    assert ending.stop(workspace, "one")
