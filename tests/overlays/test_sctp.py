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
    """The lines come to sctp_darn one by one; between them net 1 goes."""
    hosts = {n: f"-H 192.168.1.{n} -B 192.168.3.{n}" for n in (1, 2)}
    cluster.rsh(2, f"sctp_darn {hosts[2]} -P 5002 -l < /dev/null > /tmp/darn 2>&1 &")
    cluster.until(2, "grep 5002 /proc/net/sctp/eps")
    cluster.rsh(1, "rm -f /tmp/in; mkfifo /tmp/in; sleep 600 > /tmp/in &")
    cluster.rsh(1, f"sctp_darn {hosts[1]} -P 5003 -h 192.168.1.2 -p 5002 -s < /tmp/in > /tmp/darn 2>&1 &")
    cluster.until(1, "echo > /tmp/in; sleep 1; grep '192.168.3.1.*192.168.3.2' /proc/net/sctp/assocs")
    cluster.rsh(1, "ip link set eth1 down; echo second > /tmp/in")
    cluster.until(2, "grep -q second /tmp/darn", 60)


def test_the_kernel_says_what_is_there(cluster: Cluster) -> None:
    assert "SCTP" in cluster.rsh(1, "checksctp").upper()
    assert cluster.rsh(1, "cat /proc/sys/net/sctp/path_max_retrans").strip() == "2"
