"""Open vSwitch: nodes that reach each other through flows and tunnels, and flows that are changed."""

import re
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, seen, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("ovs", "--nvm=2", "--nrouters=1")


@pytest.mark.parametrize("to", ["10.8.0.2", "10.8.0.201", "fd00:108::2", "fd00:108::201"])
def test_nodes_reach_each_other(cluster: Cluster, to: str) -> None:
    cluster.until(1, ping(to))
    cluster.until(1, f"ip neighbour show {to} dev br0 | grep '02:00:00:00:08:.*REACHABLE'")


def test_packets_are_in_tunnels(cluster: Cluster) -> None:
    packets = seen(cluster, 2, "-i eth1 udp port 4789", (1, "ping -c6 -W3 10.8.0.2"), 8)
    assert "VXLAN" in packets and "vni 8" in packets
    assert "10.8.0.1 > 10.8.0.2: ICMP echo request" in packets


def test_the_kernel_forwards(cluster: Cluster) -> None:
    cluster.until(1, ping("10.8.0.2"))
    shown = cluster.rsh(1, "ovs-appctl dpctl/dump-flows")
    assert re.search(r"tunnel\(tun_id=0x8,dst=192\.168\.1\.2", shown)
    assert "system@ovs-system" in cluster.rsh(1, "ovs-appctl dpctl/show")


def test_a_flow_drops_and_counts(cluster: Cluster) -> None:
    flow = "icmp,nw_dst=10.8.0.2"
    cluster.rsh(1, f"ovs-ofctl add-flow br0 priority=300,{flow},actions=drop")
    cluster.rsh(1, f"! {ping('10.8.0.2')}")
    assert re.search(r"n_packets=[1-9]", cluster.rsh(1, f"ovs-ofctl dump-flows br0 {flow}"))
    cluster.until(1, ping("10.8.0.201"))
    cluster.rsh(1, f"ovs-ofctl --strict del-flows br0 priority=300,{flow}")
    cluster.until(1, ping("10.8.0.2"))


def test_a_port_with_a_vlan(cluster: Cluster) -> None:
    """Two namespaces at a second bridge reach each other in one VLAN, and not in two."""
    ports = "ovs-vsctl add-br br1"
    for number, name, tag in ((1, "left", 10), (2, "right", 10), (3, "other", 20)):
        kind = f"set interface {name} type=internal"
        ports += f"; ovs-vsctl add-port br1 {name} tag={tag} -- {kind}; ip netns add {name}"
        ports += f"; ip link set {name} netns {name}; ip netns exec {name} ip link set {name} up"
        ports += f"; ip netns exec {name} ip addr add 10.7.0.{number}/24 dev {name}"
    cluster.rsh(1, ports)
    cluster.until(1, f"ip netns exec left {ping('10.7.0.2')}")
    cluster.rsh(1, f"! ip netns exec left {ping('10.7.0.3')}")
