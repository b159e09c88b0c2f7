"""Clones of a golden snapshot: each is its own node, and where there can be no snapshot nodes boot cold."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.boot.conftest import (
    WORKSPACE,
    Cluster,
    assert_nothing_left,
    processes_with,
    running,
)
from tests.conftest import eventually

pytestmark = pytest.mark.boot
NUMBERS = (1, 2, 3, 201)


@pytest.fixture(scope="module")
def clones() -> Iterator[Cluster]:
    """Nodes with two interfaces and a router with three, all cloned."""
    yield from running("t-clones", ["--nvm=3", "--nrouters=1"])


def each(cluster: Cluster, command: str) -> list[str]:
    """What every node prints for a command."""
    return [cluster.rsh(number, command).strip() for number in NUMBERS]


def test_nodes_are_clones(clones: Cluster) -> None:
    for number in NUMBERS:
        log = (clones.directory / f"vm-{number:03d}" / "qemu.log").read_text()
        assert "share=off" in log and "-incoming" in log


def test_every_clone_is_somebody_else(clones: Cluster) -> None:
    assert each(clones, "hostname") == ["vm-001", "vm-002", "vm-003", "vm-201"]
    for command in (
        "cat /etc/machine-id",
        "md5sum < /etc/dropbear/dropbear_ed25519_host_key",
        "cat /sys/class/net/eth0/address /sys/class/net/eth1/address",
        "ip -br addr show eth1",
    ):
        assert len(set(each(clones, command))) == len(NUMBERS), command
    assert each(clones, "ls /sys/class/net | grep -c eth") == ["2", "2", "2", "3"]
    assert clones.rsh(3, "cat /sys/class/net/eth1/address").strip() == "00:00:00:01:01:03"


def test_random_streams_part_before_anything_uses_them(clones: Cluster) -> None:
    """The boot's own randomness too: each node draws its first bytes right after it was told who it is."""
    assert len(set(each(clones, "head -c 32 /dev/urandom | md5sum"))) == len(NUMBERS)
    assert len(set(each(clones, "cat /proc/sys/kernel/random/boot_id"))) in (1, len(NUMBERS))
    assert len(set(each(clones, "cat /proc/sys/kernel/random/uuid"))) == len(NUMBERS)


def test_the_clock_is_the_hosts(clones: Cluster) -> None:
    import time

    for number in NUMBERS:
        assert abs(int(clones.rsh(number, "date +%s")) - time.time()) < 5


def test_each_writes_to_a_disk_of_its_own(clones: Cluster) -> None:
    for number in NUMBERS:
        clones.rsh(number, f"echo {number} > /root/mine; sync")
    assert each(clones, "cat /root/mine") == [str(number) for number in NUMBERS]


def test_scaleout_is_a_clone_too(clones: Cluster) -> None:
    clones.xc("scaleout", "9")
    assert "share=off" in (clones.directory / "vm-009" / "qemu.log").read_text()
    clones.until(9, "ping -c1 -W2 192.168.1.1")
    clones.xc("scalein", "9")


def test_an_overlay_does_not_touch_the_snapshot() -> None:
    stamps = {
        path: path.stat().st_mtime_ns for path in WORKSPACE.glob("golden/*/ram") if "@" not in str(path)
    }
    cluster = Cluster("t-iso", {"xcluster_THING": "one"})
    cluster.xc("mkcdrom", "env")
    cluster.xc("starts", "--nvm=1", "--nrouters=0")
    assert cluster.rsh(1, ". /etc/profile; echo $THING").strip() == "one"
    Cluster("t-iso", {"xcluster_THING": "two"}).xc("mkcdrom", "env")
    cluster.xc("starts", "--nvm=1", "--nrouters=0")
    assert cluster.rsh(1, ". /etc/profile; echo $THING").strip() == "two"
    cluster.xc("stop")
    assert_nothing_left("t-iso")
    kept = [path for path in stamps if path.exists()]  # the ones used longest ago may have been dropped
    assert kept and all(path.stat().st_mtime_ns == stamps[path] for path in kept)


def test_cold_boots_every_node() -> None:
    cluster = Cluster("t-cold")
    cluster.xc("starts", "--cold", "--nvm=1", "--nrouters=0")
    assert "-incoming" not in (cluster.directory / "vm-001" / "qemu.log").read_text()
    cluster.xc("stop")


def test_a_node_of_its_own_size_boots_cold_and_says_so() -> None:
    cluster = Cluster("t-own")
    done = cluster.xc("starts", "--nvm=2", "--nrouters=0", "--mem2=256")
    assert "vm-002 boots the ordinary way" in done.stderr
    assert int(cluster.rsh(2, "awk '/MemTotal/{print $2}' /proc/meminfo")) > 192 * 1024
    cluster.xc("stop")


def test_what_qemu_cannot_save_boots_cold() -> None:
    """A device that forbids migration: one line says why, and the cluster comes up all the same."""
    device = "-object memory-backend-ram,size=1M,share=on,id=iv -device ivshmem-plain,memdev=iv,master=off"
    cluster = Cluster("t-fallback", {"__kvm_opt": device})
    done = cluster.xc("starts", "--nvm=1", "--nrouters=0")
    lines = [line for line in done.stderr.splitlines() if "no golden snapshot" in line]
    assert len(lines) == 1
    assert cluster.rsh(1, "hostname").strip() == "vm-001"
    cluster.xc("stop")
    assert_nothing_left("t-fallback")


def templates() -> list[str]:
    """Command lines of the machines that are about to be frozen, in this workspace."""
    return [command for command in processes_with("xc_template") if f"{WORKSPACE}/golden/" in command]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_template_ends_with_who_makes_it(sign: signal.Signals) -> None:
    cluster = Cluster("t-template")
    start = cluster.spawn("starts", "--nvm=1", "--nrouters=0", "--mem=93")
    eventually(lambda: bool(templates()) or start.poll() is not None)
    assert templates()
    os.kill(start.pid, sign)
    start.communicate(timeout=30)
    eventually(lambda: not templates())
    assert templates() == []
    assert_nothing_left("t-template")
