"""IPsec: ESP on the wire, with keys by hand and by IKE."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, seen, with_overlay

ADDRESSES = ["10.50.0.2", "fd00::10.50.0.2"]
# What comes in is shown twice, as ESP and decrypted; what goes out once.
FILTER = "-Q out -i eth1 esp or net 10.50.0.0/24 or net fd00::10.50.0.0/120"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("ipsec", "--nvm=2")


@pytest.mark.parametrize("address", ADDRESSES)
def test_esp_with_keys_by_hand(cluster: Cluster, address: str) -> None:
    for number, spi in ((1, "0x00010102"), (2, "0x00010201")):
        packets = seen(cluster, number, FILTER, (1, ping(address)), 1)
        assert f"ESP(spi={spi}" in packets
        assert "ICMP" not in packets
    assert "rfc4106(gcm(aes))" in cluster.rsh(1, "ip xfrm state")


def test_what_is_not_encrypted_is_not_taken(cluster: Cluster) -> None:
    """Plain packets to a protected address are dropped."""
    cluster.rsh(1, "ip xfrm policy flush")
    assert cluster.xc("rsh", "1", ping("10.50.0.2"), ok=False).returncode != 0
    assert (
        int(
            cluster.rsh(
                2, "awk '/XfrmInNoPols|XfrmInTmplMismatch/{n += $2} END{print n}' /proc/net/xfrm_stat"
            )
        )
        > 0
    )


def test_strongswan_agrees_on_keys(cluster: Cluster) -> None:
    """The second way, in the same cluster: nothing of the first is left."""
    for number in (1, 2):
        cluster.rsh(number, "ip xfrm policy flush; ip xfrm state flush; echo IPSEC=ike >> /etc/profile")
        cluster.rsh(number, "/etc/init.d/30ipsec.rc start")
    for address in ADDRESSES:
        cluster.until(1, ping(address), 60)
    assert "ESTABLISHED" in cluster.rsh(1, "swanctl --list-sas")
    for number in (1, 2):
        packets = seen(cluster, number, FILTER, (1, ping(ADDRESSES[0])), 1)
        assert "ESP(spi=0x" in packets
        assert "ICMP" not in packets
    assert "rfc4106" not in cluster.rsh(1, "ip xfrm state")
