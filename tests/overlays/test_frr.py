"""FRR: routes that OSPF and BGP have learned, and packets that use them."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("frr", "--nvm=1", "--nrouters=2", env={"xcluster_FRR_NODES": "yes"})


def route(cluster: Cluster, number: int, address: str) -> str:
    """The kernel's route to a learned prefix, once it is there."""
    ip = "ip -6 route" if ":" in address else "ip route"
    learned = f"{ip} get {address} | grep -q 'via.*dev eth[12]'"
    return cluster.until(number, f"{learned} && {ip} show to match {address}", 90)


@pytest.mark.parametrize("address", ["10.0.0.202", "fd00::10.0.0.202"])
def test_ospf_tells_of_loopback_addresses(cluster: Cluster, address: str) -> None:
    assert "proto ospf" in route(cluster, 201, address)
    cluster.until(201, ping(address))


def test_ospf_has_a_full_neighbour(cluster: Cluster) -> None:
    cluster.until(201, "vtysh -c 'show ip ospf neighbor' | grep '10.0.0.202.*Full'", 60)
    cluster.until(201, "vtysh -c 'show ipv6 ospf6 neighbor' | grep '10.0.0.202.*Full'", 60)


@pytest.mark.parametrize(
    "source, address", [("10.1.201.1", "10.1.202.1"), ("fd00:101:201::1", "fd00:101:202::1")]
)
def test_bgp_between_routers(cluster: Cluster, source: str, address: str) -> None:
    """There and back by BGP: nothing else knows these prefixes."""
    assert "proto bgp" in route(cluster, 201, address)
    cluster.until(201, ping(address, "-I", source))


def test_a_node_peers_with_routers_that_need_not_know_it(cluster: Cluster) -> None:
    assert "proto bgp" in route(cluster, 202, "10.1.1.1")
    cluster.until(202, ping("10.1.1.1"))
    assert "proto bgp" in route(cluster, 1, "10.1.202.1")
    cluster.until(1, ping("fd00:101:202::1"))


def test_a_route_goes_when_its_router_goes(cluster: Cluster) -> None:
    """OSPF has two paths between the routers; without net 1 it is the one on net 2."""
    cluster.rsh(202, "ip link set eth1 down")
    cluster.until(201, "! ip route show 10.0.0.202 | grep eth1 && ip route show 10.0.0.202 | grep eth2", 60)
    cluster.until(201, ping("10.0.0.202"))
    cluster.until(201, "! ip route show 10.1.202.0/24 | grep .", 60)
