"""Ways to the outside, as packets on a wire; external addresses, as connections from a tester."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import seen, with_overlay

OUTSIDE = {"ip": "203.0.113.7", "ip6": "2001:db8::7"}  # answered by nobody


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("externalip", "--nvm=2", "--nrouters=1", "--ntesters=1")


@pytest.mark.parametrize(("family", "source"), [("ip", "192.168.0.201"), ("ip6", "fd00::c0a8:c9")])
def test_a_node_reaches_out_as_the_router(cluster: Cluster, family: str, source: str) -> None:
    outside = OUTSIDE[family]
    sent = f"ping -c2 -W1 {outside}; true"
    packets = seen(cluster, 201, f"-i eth0 {family} and dst host {outside}", (1, sent), packets=1)
    assert f" {source} > {outside}" in packets


def test_external_addresses_are_on_any_node(cluster: Cluster) -> None:
    for number in (1, 2):
        cluster.rsh(number, "ip address add 10.0.0.2/32 dev lo; ip address add 1000::2/128 dev lo")
    for address in ("10.0.0.2", "[1000::2]"):
        asked = f"for i in 1 2 3 4 5 6 7 8; do wget -qO- http://{address}/cgi-bin/info; done"
        answers = cluster.rsh(221, asked).split()
        assert {"vm-001", "vm-002"} <= set(answers), "connections are spread"


def test_a_way_out_where_the_topology_has_none(cluster: Cluster) -> None:
    cluster.rsh(1, "ip route del default via 192.168.1.201; ip -6 route del default via fd00::192.168.1.201")
    for outside in OUTSIDE.values():
        assert " dev eth0 " in cluster.rsh(1, f"ip route get {outside}")
    cluster.rsh(1, "/etc/init.d/11xnet.rc start")
