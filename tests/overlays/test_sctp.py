"""SCTP: an association, its data, and a second path."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import seen, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("sctp", "--nvm=2", "--nets-vm=0,1,3")


@pytest.mark.parametrize(("to", "listen"), [("192.168.1.2", "SCTP4"), ("[fd00::192.168.1.2]", "SCTP6")])
def test_data_through_an_association(cluster: Cluster, to: str, listen: str) -> None:
    cluster.rsh(
        2, f"socat -u {listen}-LISTEN:5001,reuseaddr OPEN:/tmp/got,creat,trunc < /dev/null > /tmp/err 2>&1 &"
    )
    cluster.until(2, "grep 5001 /proc/net/sctp/eps")
    packets = seen(
        cluster, 2, "-i eth1 sctp and port 5001", (1, f"echo hello | socat -u - SCTP:{to}:5001"), 6
    )
    assert "[INIT]" in packets
    assert "[DATA]" in packets
    assert cluster.until(2, "grep . /tmp/got").strip() == "hello"


def test_an_association_over_two_nets_outlives_one(cluster: Cluster) -> None:
    """Ends that are bound to no address tell each other all they have."""
    cluster.rsh(2, "socat -u SCTP4-LISTEN:5002 OPEN:/tmp/got,creat,trunc < /dev/null > /tmp/err 2>&1 &")
    cluster.until(2, "grep 5002 /proc/net/sctp/eps")
    feed = "while [ ! -e /tmp/end ]; do echo a line of text; usleep 100000; done; echo the end"
    cluster.rsh(1, f"rm -f /tmp/end; ({feed}) | socat -u - SCTP:192.168.1.2:5002 > /tmp/err 2>&1 &")
    cluster.until(1, "grep '192.168.3.1.*<->.*192.168.3.2' /proc/net/sctp/assocs")
    cluster.rsh(1, "ip link set eth1 down; touch /tmp/end")
    cluster.until(2, "grep -q 'the end' /tmp/got", 90)


def test_the_kernel_says_what_is_there(cluster: Cluster) -> None:
    assert "SCTP" in cluster.rsh(1, "checksctp 2>&1").upper()
    assert cluster.rsh(1, "cat /proc/sys/net/sctp/path_max_retrans").strip() == "2"
