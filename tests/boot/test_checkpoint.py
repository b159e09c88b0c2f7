"""Checkpoints of real clusters: what was running goes on, as often as one likes, and beside itself."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.boot.conftest import WORKSPACE, Cluster, assert_nothing_left, processes_of
from tests.conftest import eventually

pytestmark = pytest.mark.boot
HOME = WORKSPACE / "checkpoint"
# A counter goes to and fro over one TCP connection; each side notes what it got, and sends one more.
FIRST = "nc -l -p 7000 </tmp/f | while read n; do echo $n >>/root/seen; echo $((n + 1)); done >/tmp/f"
SECOND = (
    "nc 192.168.1.1 7000 </tmp/f | "
    "{ echo 1; while read n; do echo $n >>/root/seen; usleep 100000; echo $((n + 1)); done; } >/tmp/f"
)


@dataclass(frozen=True)
class Saved:
    """A running cluster and a checkpoint of it."""

    cluster: Cluster
    name: str
    summary: str
    before: int  # where the counter was just before it was saved
    after: int  # and just after


def counted(cluster: Cluster) -> int:
    """How far the counter has come; every number was noted once, in order."""
    odd, even = ([int(word) for word in cluster.rsh(node, "cat /root/seen").split()] for node in (1, 2))
    assert odd == list(range(1, odd[-1] + 1, 2)), "a number is missing or came twice"
    assert even == list(range(2, even[-1] + 1, 2)), "a number is missing or came twice"
    return max(odd[-1], even[-1])


def goes_on(cluster: Cluster) -> int:
    """The counter moves; where it is."""
    before = counted(cluster)
    end = time.monotonic() + 60
    while (now := counted(cluster)) <= before + 2:
        assert time.monotonic() < end, f"the counter stands still at {now}"
    return now


def checkpoints() -> list[str]:
    """The names that `list` offers."""
    return [
        each["name"] for each in json.loads(Cluster("t-cp").xc("checkpoint", "list", "-o", "json").stdout)
    ]


@pytest.fixture(scope="module")
def saved() -> Iterator[Saved]:
    """Two nodes that count, with a process and a file, saved as t-one."""
    cluster = Cluster("t-cp")
    for name in set(checkpoints()) & {"t-one", "t-two", "t-again"}:
        cluster.xc("checkpoint", "rm", name)
    cluster.xc("starts", "--nvm=2", "--nrouters=0")
    for node, script in ((1, FIRST), (2, SECOND)):
        cluster.rsh(node, f"mkfifo /tmp/f; echo '{script}' >/root/count; echo saved >/root/file")
        cluster.xc("rsh", "--bg", str(node), "sh /root/count")
        time.sleep(0.3)
    cluster.xc("rsh", "--bg", "1", "sleep 98765")
    before = goes_on(cluster)
    done = cluster.xc("checkpoint", "save", "t-one")
    yield Saved(cluster, "t-one", done.stderr.strip().splitlines()[-1], before, counted(cluster))
    cluster.xc("stop")
    cluster.xc("checkpoint", "rm", "t-one")
    assert_nothing_left("t-cp")
    assert [path.name for path in HOME.iterdir() if path.name.startswith((".", "t-"))] == []


def test_a_saved_cluster_goes_on(saved: Saved) -> None:
    assert goes_on(saved.cluster) > saved.after
    assert "2 nodes" in saved.summary and "apparent" in saved.summary
    assert float(saved.summary.split("paused for ")[1].split()[0]) < 5  # a busy machine may stand still
    assert saved.cluster.rsh(1, "pidof sleep").strip()
    saved.cluster.rsh(1, "echo later >/root/file; killall sleep; sync")


def test_sizes_are_told_and_memory_is_sparse(saved: Saved) -> None:
    (row,) = [
        each
        for each in json.loads(saved.cluster.xc("checkpoint", "list", "-o", "json").stdout)
        if each["name"] == saved.name
    ]
    assert row["nodes"] == ["vm-001", "vm-002"] and row["differs"] == []
    ram = (HOME / saved.name / "vm-001.ram").stat()
    assert ram.st_size == 128 << 20 and ram.st_blocks * 512 < ram.st_size * 0.8
    assert row["apparent"] > 256 << 20 > row["disk"]


def as_saved(cluster: Cluster, saved: Saved) -> str:
    """All is as it was, and goes on. What /dev/urandom gives."""
    assert saved.before <= counted(cluster)
    assert cluster.rsh(1, "cat /root/file").strip() == "saved"
    assert cluster.rsh(1, "pidof sleep").strip()
    assert abs(int(cluster.rsh(2, "date +%s")) - time.time()) < 3
    assert goes_on(cluster) > saved.before
    return cluster.rsh(1, "head -c 32 /dev/urandom | md5sum")


def test_restored_over_a_running_one_and_after_stop(saved: Saved) -> None:
    """The state is that of the save each time, and random numbers are new each time."""
    drawn = set()
    for stop in (False, True):
        if stop:
            saved.cluster.xc("stop")
        done = saved.cluster.xc("checkpoint", "restore", saved.name)
        assert "2 nodes restored in" in done.stderr
        early = counted(saved.cluster)
        assert saved.before <= early
        drawn.add(as_saved(saved.cluster, saved))
    assert len(drawn) == 2
    assert {node["state"] for node in saved.cluster.status()["nodes"]} == {"alive"}


def test_a_fork_runs_beside_the_original(saved: Saved) -> None:
    fork = Cluster("t-fork")
    saved.cluster.xc("checkpoint", "restore", saved.name, "--as=t-fork")
    as_saved(fork, saved)
    goes_on(saved.cluster)
    ports = [node["ssh"] for cluster in (saved.cluster, fork) for node in cluster.status()["nodes"]]
    assert len(set(ports)) == 4
    # An address that is there in one is nowhere in the other.
    fork.rsh(1, "ip addr add 192.168.1.77/24 dev eth1")
    fork.until(2, "ping -c1 -W2 192.168.1.77")
    assert saved.cluster.xc("rsh", "2", "ping -c2 -W1 192.168.1.77", ok=False).returncode == 1
    fork.rsh(2, "echo fork >/root/file")
    assert saved.cluster.rsh(2, "cat /root/file").strip() == "saved"
    fork.xc("scaleout", "3")
    fork.until(3, "ping -c1 -W2 192.168.1.1")
    fork.xc("scalein", "3")
    fork.xc("stop")
    assert_nothing_left("t-fork")
    goes_on(saved.cluster)


def test_what_was_restored_is_saved_again_and_outlives_its_checkpoint(saved: Saved) -> None:
    fork = Cluster("t-fork")
    saved.cluster.xc("checkpoint", "restore", saved.name, "--as=t-fork")
    fork.rsh(1, "echo second >/root/file; sync")
    fork.xc("checkpoint", "save", "t-two")
    fork.xc("checkpoint", "restore", "t-two")
    fork.xc("checkpoint", "rm", "t-two")
    assert fork.rsh(1, "cat /root/file").strip() == "second"
    goes_on(fork)
    fork.xc("checkpoint", "save", "t-again")
    fork.xc("stop")
    fork.xc("checkpoint", "restore", "t-again")
    assert fork.rsh(1, "cat /root/file").strip() == "second"
    goes_on(fork)
    fork.xc("stop")
    fork.xc("checkpoint", "rm", "t-again")
    assert_nothing_left("t-fork")


def test_what_cannot_be_done_is_refused(saved: Saved) -> None:
    twice = saved.cluster.xc("checkpoint", "save", saved.name, ok=False)
    assert twice.returncode == 1 and f"checkpoint rm {saved.name}" in twice.stderr
    other = Cluster("t-other").xc("checkpoint", "restore", saved.name, ok=False)
    assert other.returncode == 2 and "--as=t-other" in other.stderr
    pid = saved.cluster.status()["nodes"][1]["pid"]
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.02)
    dead = saved.cluster.xc("checkpoint", "save", "t-two", ok=False)
    assert dead.returncode == 1 and "vm-002" in dead.stderr
    assert "t-two" not in checkpoints()


def test_a_changed_artifact_is_refused_before_anything_is_stopped(saved: Saved) -> None:
    saved.cluster.xc("checkpoint", "restore", saved.name)
    stamp = WORKSPACE / "image" / "base.json"
    text = stamp.read_text()
    try:
        content = json.loads(text)
        (image,) = content["files"].values()
        image["sha256"] = "0" * 64
        stamp.write_text(json.dumps(content))
        done = saved.cluster.xc("checkpoint", "restore", saved.name, ok=False)
        save = saved.cluster.xc("checkpoint", "save", "t-two", ok=False)
        assert "differs: image" in saved.cluster.xc("checkpoint", "list").stdout
    finally:
        stamp.write_text(text)
    assert done.returncode == 1 and "image:" in done.stderr and "xc image:base" in done.stderr
    assert save.returncode == 1 and "image" in save.stderr
    goes_on(saved.cluster)


def hold(saver: "subprocess.Popen[str]") -> None:
    """Stop the process that saves while the nodes are stopped, which is when their states are written."""
    while not any(HOME.glob(".t-killed.*/vm-*.stream")):
        assert saver.poll() is None, "it was over before it was seen"
        time.sleep(0.002)
    os.kill(saver.pid, signal.SIGSTOP)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nodes_go_on_when_the_saver_is_ended_while_they_are_stopped(sign: signal.Signals) -> None:
    cluster = Cluster("t-cpk")
    cluster.xc("starts", "--nvm=2", "--nrouters=0")
    before = sorted(processes_of("t-cpk"))
    saver = cluster.spawn("checkpoint", "save", "t-killed")
    hold(saver)
    with pytest.raises(subprocess.TimeoutExpired):
        cluster.xc("rsh", "1", "true", timeout=3)  # it stands still
    os.kill(saver.pid, sign)
    os.kill(saver.pid, signal.SIGCONT)
    assert saver.wait(timeout=60) != 0
    for number in (1, 2):
        cluster.until(number, "true", 60)
    eventually(lambda: not any("guard.py" in line for line in processes_of("t-cpk")))
    assert sorted(processes_of("t-cpk")) == before  # two nodes, and what their nets need
    assert checkpoints() == [name for name in checkpoints() if name != "t-killed"]
    assert [path.name for path in HOME.iterdir() if "t-killed" in path.name] == []
    if sign == signal.SIGKILL:
        cluster.xc("checkpoint", "save", "t-killed")
        cluster.xc("checkpoint", "rm", "t-killed")
    cluster.xc("stop")
    assert_nothing_left("t-cpk")
