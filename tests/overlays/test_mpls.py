"""MPLS: paths as stacks of labels."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, seen, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("mpls", "--nvm=2", "--nrouters=1")


@pytest.mark.parametrize("address", ["192.168.1.2", "fd00::192.168.1.2"])
def test_a_path_through_a_router(cluster: Cluster, address: str) -> None:
    """The router is no hop between two nodes of one net, unless labels say so."""
    cluster.rsh(1, f"mpls-path {address} 1.201 2")
    came, went = seen(cluster, 201, "-i eth1 mpls", (1, ping(address))).splitlines()
    assert "(label 16201, tc 0, ttl 64) (label 16002, tc 0, [S], ttl 64)" in came
    assert "label 16201" not in went
    assert "(label 16002, tc 0, [S], ttl 63)" in went
    cluster.rsh(1, f"mpls-path {address} off")
    assert "mpls" not in cluster.rsh(1, f"ip route get {address}")
    cluster.until(1, ping(address))


def test_a_label_nobody_has_leads_nowhere(cluster: Cluster) -> None:
    cluster.rsh(1, "mpls-path 192.168.1.2 1.201 77")
    assert cluster.xc("rsh", "1", ping("192.168.1.2"), ok=False).returncode != 0
    cluster.rsh(1, "mpls-path 192.168.1.2 off")


def test_wrong_words(cluster: Cluster) -> None:
    done = cluster.xc("rsh", "1", "mpls-path 192.168.1.2", ok=False)
    assert done.returncode == 2
    assert "mpls-path DEST NET.HOST" in done.stderr
