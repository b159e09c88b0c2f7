"""A cluster can always be stopped: when its files are damaged, and when somebody has removed them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.base import process_facts
from tasks.base.paths import Workspace
from tasks.run.running import processes
from tests.boot.conftest import WORKSPACE, Cluster, assert_nothing_left, processes_with
from tests.conftest import eventually

pytestmark = pytest.mark.boot
NETS = {
    "userspace": {"qemu-system-x86_64": 2, "switch.py": 1},
    "bridge": {"qemu-system-x86_64": 2, "holder.py": 2},
}


def started(net: str) -> tuple[Cluster, dict[int, str]]:
    """A node and a router, with a bad wire between them; and all processes of it."""
    cluster = Cluster("t-stop")
    cluster.xc("starts", "--nvm=1", "--nrouters=1", f"--net={net}")
    cluster.xc("netem", "1", "eth1", "--delay=1ms")
    every = processes.of(Workspace(WORKSPACE).cluster(cluster.name))
    programs = {process.mark.pid: " ".join(process.argv) for process in every}
    for name, count in {**NETS[net], "wire.py": 1}.items():
        assert sum(name in words for words in programs.values()) == count, programs
    if net == "bridge":
        assert any("slirp4netns" in words or "pasta" in words for words in programs.values())
    return cluster, programs


def assert_ended(cluster: Cluster, programs: dict[int, str]) -> None:
    """None of the processes is there any more, nor a file."""
    eventually(lambda: not any(process_facts.started_at(pid) for pid in programs), 10)
    assert processes.of(Workspace(WORKSPACE).cluster(cluster.name)) == []
    assert_nothing_left(cluster.name)


@pytest.mark.parametrize("net", NETS)
def test_stop_after_the_directory_was_removed_by_hand(net: str) -> None:
    cluster, programs = started(net)
    shutil.rmtree(cluster.directory)
    shown = cluster.xc("status")
    assert "the directory is gone" in shown.stdout and "xc stop --name=t-stop" in shown.stdout
    assert cluster.status()["damaged"][0]["why"] == "the directory is gone"
    for words in (["rsh", "1", "true"], ["scaleout", "2"], ["checkpoint", "save", "t-none"], ["logs", "1"]):
        done = cluster.xc(*words, ok=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "not running" not in cluster.xc("stop").stderr
    assert_ended(cluster, programs)
    assert "not running" in cluster.xc("stop").stderr


def empty(path: Path) -> None:
    """As after a full disk or a crash of the host."""
    path.write_text("")


def of_a_later_version(path: Path) -> None:
    """As after a step back to an older checkout."""
    path.write_text('{"format": 1000}')


@pytest.mark.parametrize("damage", [empty, of_a_later_version])
@pytest.mark.parametrize("net", NETS)
def test_stop_with_damaged_files(net: str, damage: Callable[[Path], None]) -> None:
    cluster, programs = started(net)
    files = [path for path in cluster.directory.rglob("*") if path.suffix in (".json", ".helper")]
    assert len(files) >= 4
    for path in files:
        damage(path)
    shown = cluster.xc("status").stdout
    assert str(cluster.directory / "cluster.json") in shown and "vm-001  vm      alive" in shown
    done = cluster.xc("rsh", "1", "true", ok=False)
    assert done.returncode == 1 and "cluster.json is damaged" in done.stderr and "xc stop" in done.stderr
    cluster.xc("stop")
    assert_ended(cluster, programs)


def test_a_start_replaces_what_is_left_of_one_that_lost_its_directory() -> None:
    cluster, programs = started("userspace")
    shutil.rmtree(cluster.directory)
    cluster.xc("starts", "--nvm=1", "--nrouters=0", "--net=userspace")
    assert not any(process_facts.started_at(pid) for pid in programs)
    assert [node["name"] for node in cluster.status()["nodes"]] == ["vm-001"]
    cluster.xc("stop")
    assert_nothing_left(cluster.name)
    assert processes_with("/run/t-stop/") == []
