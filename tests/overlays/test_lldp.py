"""LLDP: every node knows who is at the other end."""

import json
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("lldp", "--nvm=2", "--nrouters=1", "--nets1=0,1,3")


def neighbours(cluster: Cluster, number: int, count: int) -> set[tuple[str, str, str]]:
    """(own interface, node, its interface) of each neighbour."""
    counted = "lldpcli -f json0 show neighbors > /tmp/lldp; jq '[.lldp[0].interface[]?] | length' /tmp/lldp"
    cluster.until(number, f'[ "$({counted})" -ge {count} ]', 60)
    interfaces = json.loads(cluster.rsh(number, "cat /tmp/lldp"))["lldp"][0]["interface"]
    return {
        (one["name"], one["chassis"][0]["name"][0]["value"], one["port"][0]["descr"][0]["value"])
        for one in interfaces
    }


def test_neighbours_by_name_through_the_switch(cluster: Cluster) -> None:
    assert neighbours(cluster, 1, 2) == {("eth1", "vm-002", "eth1"), ("eth1", "vm-201", "eth1")}
    assert neighbours(cluster, 201, 2) == {("eth1", "vm-001", "eth1"), ("eth1", "vm-002", "eth1")}


def test_a_neighbour_that_is_gone_is_forgotten(cluster: Cluster) -> None:
    cluster.rsh(2, "kill $(pidof lldpd)")
    cluster.until(
        1, "lldpcli show neighbors | grep -q vm-201 && ! lldpcli show neighbors | grep -q vm-002", 60
    )
