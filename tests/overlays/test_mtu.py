"""MTUs: jumbo frames, and a small hop that the path's ends find out about."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, with_overlay

ENDS = ["192.168.2.221", "fd00::192.168.2.221"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Jumbo frames on all nets, but on the router's way to the tester."""
    env = {"xcluster_MTU": "201/2=1400"}
    yield from with_overlay("mtu", "--nvm=2", "--nrouters=1", "--ntesters=1", "--mtu=9000", env=env)


@pytest.mark.parametrize("address", ["192.168.1.2", "fd00::192.168.1.2"])
def test_jumbo_frames_between_nodes(cluster: Cluster, address: str) -> None:
    cluster.until(1, ping(address, "-M do -s 8900"))
    assert cluster.rsh(1, f"pmtu {address}").strip() == "9000"


@pytest.mark.parametrize("address", ENDS)
def test_the_router_tells_of_a_small_hop(cluster: Cluster, address: str) -> None:
    cluster.until(1, ping(address))
    assert cluster.until(1, f"pmtu {address}", 60).strip() == "1400"
    cluster.rsh(1, "ip route flush cache; ip -6 route flush cache")
    too_big = cluster.xc("rsh", "1", ping(address, "-M do -s 3000"), ok=False)
    assert too_big.returncode != 0
    assert "mtu=1400" in (too_big.stdout + too_big.stderr).replace("mtu = 1400", "mtu=1400")
    assert "mtu 1400" in cluster.rsh(1, f"ip route get {address}")


@pytest.mark.parametrize("address", ENDS)
def test_tcp_comes_through_the_small_hop(cluster: Cluster, address: str) -> None:
    """The sender starts with segments of 9000 bytes and learns."""
    cluster.rsh(1, "ip route flush cache; ip -6 route flush cache")
    cluster.rsh(1, "head -c 200000 /dev/zero > /root/www/big")
    own = "192.168.1.1" if "." in address[:4] else "[fd00::192.168.1.1]"
    assert cluster.until(221, f"wget -q -O - http://{own}/big | wc -c", 60).strip() == "200000"
    assert "mtu 1400" in cluster.rsh(1, f"ip route get {address}")
