"""XDP: packets that a program in the driver, or before the stack, drops and counts."""

import re
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, with_overlay

PROGRAM = "/usr/lib/x86_64-linux-gnu/bpf/xsk_def_xdp_prog.o"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("xdp", "--nvm=2")


def counts(cluster: Cluster) -> dict[str, int]:
    """Packets by what became of them."""
    shown = cluster.rsh(1, "xdp-filter status")
    return {name: int(number) for name, number in re.findall(r"(XDP_\w+) +(\d+) pkts", shown)}


@pytest.mark.parametrize("mode", ["native", "skb"])
def test_packets_are_dropped_by_port_and_counted(cluster: Cluster, mode: str) -> None:
    fetch = "wget -q -O - http://192.168.1.1/"
    refused = "! echo | nc -w 2 192.168.1.1 80"
    cluster.until(2, fetch)
    cluster.rsh(1, f"xdp-filter load -m {mode} eth1 && xdp-filter port 80 -m dst -p tcp")
    try:
        assert f"eth1 ({mode} mode)" in cluster.rsh(1, "xdp-filter status")
        cluster.rsh(2, refused)
        cluster.until(2, ping("192.168.1.1"))
        cluster.until(2, ping("fd00::192.168.1.1"))
        seen = counts(cluster)
        assert seen["XDP_DROP"] >= 1 and seen["XDP_PASS"] >= 2 and seen["XDP_ABORTED"] == 0
        cluster.rsh(1, "xdp-filter port -r 80 -m dst -p tcp")
        cluster.until(2, fetch)
        assert counts(cluster)["XDP_DROP"] == seen["XDP_DROP"]
    finally:
        cluster.rsh(1, "xdp-filter unload --all")
    assert "No XDP program loaded" in cluster.rsh(1, "xdp-loader status eth1")


def test_a_program_from_a_file(cluster: Cluster) -> None:
    cluster.rsh(1, f"xdp-loader load -m skb -n xsk_def_prog eth1 {PROGRAM}")
    assert "xsk_def_prog" in cluster.rsh(1, "xdp-loader status eth1")
    assert "xsk_def_prog" in cluster.rsh(1, "bpftool prog")
    assert "xsks_map" in cluster.rsh(1, "bpftool map")
    assert "eth1" in cluster.rsh(1, "bpftool net")
    cluster.until(2, ping("192.168.1.1"))
    cluster.rsh(1, "xdp-loader unload eth1 --all")
    assert "xsk_def_prog" not in cluster.rsh(1, "bpftool prog")


def test_a_program_that_drops_everything_counts_a_flood(cluster: Cluster) -> None:
    cluster.rsh(1, "timeout 120 xdp-bench drop -m skb -i 1 eth1 > /tmp/bench 2>&1 < /dev/null &")
    cluster.until(1, "xdp-loader status eth1 | grep -v 'No XDP' | grep eth1")
    cluster.rsh(2, f"! {ping('192.168.1.1')}; ping -c 20 -A -W1 192.168.1.1 > /dev/null; true")
    cluster.rsh(1, "kill -INT $(pidof xdp-bench)")
    cluster.until(1, "grep -E 'Summary +[1-9]' /tmp/bench")
    cluster.until(2, ping("192.168.1.1"))
