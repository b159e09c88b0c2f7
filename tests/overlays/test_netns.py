"""Namespaces as pods: on one node, across nodes, and from outside."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("netns", "--nvm=2", "--nrouters=1", env={"xcluster_NPODS": "3"})


@pytest.mark.parametrize("address", ["10.244.1.4", "fd00:244:1::4", "10.244.2.2", "fd00:244:2::4"])
def test_a_pod_reaches_pods_of_its_node_and_of_others(cluster: Cluster, address: str) -> None:
    cluster.until(1, f"ip netns exec pod1 {ping(address)}")


def test_pods_are_namespaces_of_their_own(cluster: Cluster) -> None:
    assert cluster.rsh(1, "ip netns list").count("pod") == 3
    inside = cluster.rsh(1, "ip -n pod2 -br address")
    assert "10.244.1.3/24" in inside
    assert "192.168." not in inside
    hop = cluster.until(1, "ip netns exec pod1 traceroute -n -q1 -w5 -m4 10.244.2.3")
    assert [line.split()[1] for line in hop.splitlines()[1:]] == ["10.244.1.1", "192.168.1.2", "10.244.2.3"]


def test_a_router_reaches_pods(cluster: Cluster) -> None:
    cluster.until(201, ping("10.244.2.4"))
