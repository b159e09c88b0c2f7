"""WireGuard: what goes between nodes is encrypted, and arrives."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, seen, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("wireguard", "--nvm=2", "--nrouters=1")


@pytest.mark.parametrize("address", ["10.99.0.2", "fd00::10.99.0.2"])
def test_a_ping_is_encrypted_on_the_wire(cluster: Cluster, address: str) -> None:
    cluster.until(1, ping(address))
    packets = seen(
        cluster,
        2,
        "-i eth1 udp port 51820 or net 10.99.0.0/24 or net fd00::10.99.0.0/120",
        (1, ping(address)),
    )
    assert packets.count("UDP, length") == 2
    assert "10.99.0" not in packets
    assert "fd00::a63" not in packets


def test_routers_are_in_the_mesh(cluster: Cluster) -> None:
    cluster.until(201, ping("10.99.0.1"))


def test_nobody_answers_to_another_key(cluster: Cluster) -> None:
    """What vm-002 sends is not taken for the router's."""
    stranger = "wg set wg0 private-key /tmp/key"
    cluster.rsh(2, f"wg showconf wg0 > /tmp/conf; wg genkey > /tmp/key; {stranger}")
    assert cluster.xc("rsh", "2", ping("10.99.0.1"), ok=False).returncode != 0
    cluster.rsh(2, "wg setconf wg0 /tmp/conf")
    cluster.until(2, ping("10.99.0.1"))
