"""Topologies as clusters of real machines: every pair that a topology promises is pinged, both families."""

import json
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster, running

pytestmark = pytest.mark.boot

PING = 'for a in {}; do ping -c1 -W3 $a >/dev/null || ping -c3 -W3 $a >/dev/null || echo "$a"; done'


def lost(cluster: Cluster) -> dict[int, list[str]]:
    """The promised addresses that do not answer, by the node that asked; there has to be something to ask."""
    pairs = json.loads(cluster.xc("graph", "-o", "json").stdout)["reachable"]
    assert pairs
    targets: dict[int, list[str]] = {}
    for pair in pairs:
        targets.setdefault(pair["source"], []).extend([pair["v4"], pair["v6"]])
    silent = {
        number: cluster.rsh(number, PING.format(" ".join(dict.fromkeys(each)))).split()
        for number, each in targets.items()
    }
    return {number: each for number, each in silent.items() if each}


def test_multihop_over_three_routers() -> None:
    for cluster in running("t-multihop", ["--topology=multihop", "--nvm=1", "--ntesters=1"]):
        assert lost(cluster) == {}
        hops = cluster.rsh(1, "traceroute -n -m6 -w3 192.168.2.221")
        for address in ("192.168.1.201", "192.168.3.202", "192.168.4.203", "192.168.2.221"):
            assert address in hops


def test_a_bridge_in_a_node() -> None:
    for cluster in running("t-bridge", ["--nvm=2", "--ntesters=1"], {"TOPOLOGY": "bridge"}):
        assert lost(cluster) == {}
        ports = json.loads(cluster.rsh(201, "ip -j link show master br1"))
        assert sorted(port["ifname"] for port in ports) == ["eth1", "eth2"]
        # vm-221 is a neighbour, though it is on another net.
        assert "192.168.1.221" in cluster.rsh(1, "ip -4 neigh show dev eth1")


@pytest.fixture(scope="module")
def diamond() -> Iterator[Cluster]:
    """One node, four routers and the tester that the topology asks for."""
    yield from running("t-diamond", ["--topology=diamond", "--nvm=1"])


def test_diamond(diamond: Cluster) -> None:
    names = [node["name"] for node in diamond.status()["nodes"]]
    assert names == ["vm-001", "vm-201", "vm-202", "vm-203", "vm-204", "vm-221"]
    assert lost(diamond) == {}


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_diamond_uses_both_paths(diamond: Cluster, family: str) -> None:
    to = "192.168.2.0/24" if family == "-4" else "fd00::192.168.2.0/120"
    routes = diamond.rsh(201, f"ip {family} route show {to}")
    assert routes.count("nexthop") == 2


def test_nodes_of_every_shape_are_clones(diamond: Cluster) -> None:
    """Routers have three or four interfaces, the others two."""
    logs = [log.read_text() for log in diamond.directory.glob("vm-*/qemu.log")]
    assert ["-incoming defer" in log for log in logs] == [True] * 6


def test_the_picture_shows_a_cut_link_and_a_dead_node(diamond: Cluster) -> None:
    assert "(down)" not in diamond.xc("graph", "-o", "mermaid").stdout
    cut(diamond, 203, 2)
    diamond.until(203, "ip link show eth2 | grep NO-CARRIER")
    (line,) = [line for line in diamond.xc("graph", "-o", "dot").stdout.splitlines() if "(down)" in line]
    assert '"vm-203" -- "net5"' in line and "eth2 (down)" in line


def cut(cluster: Cluster, number: int, interface: int) -> None:
    """Pull the cable of an interface, in QEMU."""
    from tasks.run.node import qmp

    socket = cluster.directory / f"vm-{number:03d}" / "qmp"
    qmp.each([socket], lambda _, monitor: monitor.execute("set_link", name=f"net{interface}", up=False))


def test_scaled_out_zones() -> None:
    """Nodes outside the counts get the nets of their numbers, and keep the topology without being told."""
    for cluster in running("t-zones", ["--topology=zones", "--nvm=1", "--nrouters=1", "--ntesters=1"]):
        cluster.xc("scaleout", "10", "20")
        assert lost(cluster) == {}
        assert "192.168.3.10/24" in cluster.rsh(10, "ip -4 addr show eth1")
        assert "192.168.4.20 vm-020" in cluster.rsh(20, "cat /etc/hosts")


def test_a_topology_packed_by_mkcdrom() -> None:
    """Upstream's way: the name is said when the ISO is made."""
    cluster = Cluster("t-packed", {"xcluster_TOPOLOGY": "backend"})
    cluster.xc("mkcdrom", "env", "network-topology")
    for each in running("t-packed", ["--nvm=1", "--nrouters=1", "--ntesters=1"]):
        assert lost(each) == {}
        assert "192.168.3.1/24" in each.rsh(1, "ip -4 addr show eth2")
        assert "TOPOLOGY=backend" in each.rsh(1, "cat /etc/profile")
