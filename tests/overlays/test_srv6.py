"""SRv6: a packet goes where its list of segments says."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, seen, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("srv6", "--nvm=1", "--nrouters=2", "--ntesters=1")


@pytest.mark.parametrize(
    ("address", "sid"), [("fd00::192.168.2.221", "fd06:221::6"), ("192.168.2.221", "fd06:221::4")]
)
def test_both_routers_are_segments(cluster: Cluster, address: str, sid: str) -> None:
    """The shortest path has one router; this one has both, one after the other."""
    cluster.until(1, ping(address))
    cluster.rsh(1, f"srv6-path {address} 201 202 221")
    came, went = seen(cluster, 202, "-i any ip6 proto 43", (1, ping(address))).splitlines()
    assert "> fd06:202::1: RT6 (len=6, type=4, segleft=1" in came
    assert f"[0]{sid}, [1]fd06:202::1, [2]fd06:201::1" in came
    assert f"> {sid}: RT6 (len=6, type=4, segleft=0" in went
    cluster.rsh(1, f"srv6-path {address} off")
    assert "seg6" not in cluster.rsh(1, f"ip route get {address}")


def test_a_node_without_the_segment_drops_it(cluster: Cluster) -> None:
    cluster.rsh(1, "srv6-path fd00::192.168.2.221 203 221")
    assert cluster.xc("rsh", "1", ping("fd00::192.168.2.221"), ok=False).returncode != 0
    cluster.rsh(1, "srv6-path fd00::192.168.2.221 off")
