"""GoBGP: sessions with itself and with FRR, and what it has learned in the kernel of a node."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """vm-202 has FRR's BGP, vm-001 and vm-201 have GoBGP."""
    env = {"xcluster_GOBGP_NODES": "yes"}
    for cluster in with_overlay("gobgp", "--nvm=1", "--nrouters=2", env=env, more=["frr"]):
        cluster.rsh(201, "kill $(pidof bgpd); while pidof bgpd; do usleep 100000; done")
        cluster.rsh(201, "/etc/init.d/31gobgp.rc start")
        yield cluster


PAIRS = [(1, 201), (1, 202), (201, 1), (202, 1), (201, 202), (202, 201)]


@pytest.mark.parametrize("number, peer", PAIRS)
def test_what_a_peer_announces_is_in_the_kernel(cluster: Cluster, number: int, peer: int) -> None:
    """There and back by BGP: nothing else knows these prefixes."""
    for ip, prefix in (("ip", f"10.1.{peer}.0/24"), ("ip -6", f"fd00:101:{peer}::/64")):
        cluster.until(number, f"{ip} route show {prefix} proto bgp | grep via", 90)
    cluster.until(number, ping(f"10.1.{peer}.1", "-I", f"10.1.{number}.1"))
    cluster.until(number, ping(f"fd00:101:{peer}::1", "-I", f"fd00:101:{number}::1"))


def test_sessions_in_both_families(cluster: Cluster) -> None:
    cluster.until(1, "[ $(gobgp neighbor | grep -c ' Establ ') = 4 ]")
    table = cluster.rsh(201, "gobgp global rib")
    assert "10.1.202.0/24" in table and "65202" in table


def test_an_announcement_comes_and_goes(cluster: Cluster) -> None:
    cluster.rsh(1, "gobgp global rib add 10.55.0.0/16")
    for number in (201, 202):
        cluster.until(number, "ip route show 10.55.0.0/16 proto bgp | grep via", 30)
    cluster.rsh(1, "gobgp global rib del 10.55.0.0/16")
    for number in (201, 202):
        cluster.until(number, "! ip route show 10.55.0.0/16 | grep via", 30)


def test_routes_go_with_their_router(cluster: Cluster) -> None:
    cluster.rsh(202, "ip link set eth1 down")
    cluster.until(1, "! ip route show 10.1.202.0/24 | grep via", 60)
    cluster.until(1, "gobgp neighbor 192.168.1.202 | grep -v -i establ")
