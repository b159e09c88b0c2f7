"""MPTCP: one connection over two nets, and it outlives one of them."""

import re
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import with_overlay

# With `fork` the listener stays: more subflows come to it, too.
LISTEN = "mptcpize run socat -u TCP{family}-LISTEN:{port},reuseaddr,fork OPEN:/tmp/got,creat,trunc"
SEND = "mptcpize run socat -u - TCP:{to}:{port}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("mptcp", "--nvm=2", "--nets-vm=0,1,3")


@pytest.mark.parametrize(
    ("to", "family", "port"), [("192.168.1.2", 4, 5000), ("[fd00::192.168.1.2]", 6, 5006)]
)
def test_a_connection_over_two_nets_outlives_one(cluster: Cluster, to: str, family: int, port: int) -> None:
    cluster.rsh(2, f"{LISTEN.format(family=family, port=port)} < /dev/null > /tmp/err 2>&1 &")
    cluster.until(2, f"ss -Mltn | grep :{port}")
    feed = "while [ ! -e /tmp/end ]; do echo a line of text; usleep 100000; done; echo the end"
    cluster.rsh(
        1,
        f"rm -f /tmp/end; ( ({feed}) | {SEND.format(to=to, port=port)}; echo $? > /tmp/code ) 2> /tmp/err &",
    )
    flows = f"ss -tn state established dport = :{port}"
    cluster.until(1, f'[ "$({flows} | grep -c :{port})" -ge 2 ]')
    assert re.search(r"subflows:[12]\b", cluster.rsh(1, "ss -Mi"))
    # an IPv6 connection may have subflows in both families
    assert re.search(r"192\.168\.3\.2|c0a8:302", cluster.rsh(1, flows))
    assert int(cluster.rsh(1, "nstat -asz MPTcpExtMPJoinSynAckRx | awk '/MPJoin/{print $2}'")) >= 1
    # net 1, where the connection was made, is gone: the rest comes over net 3
    cluster.rsh(1, "ip link set eth1 down; touch /tmp/end")
    cluster.until(2, "grep -q 'the end' /tmp/got", 60)
    cluster.rsh(1, ". /etc/profile; . /usr/lib/network-topology.sh; ifsetup eth1 1")
    cluster.until(1, "grep -q 0 /tmp/code")


def test_plain_tcp_has_one_flow(cluster: Cluster) -> None:
    cluster.rsh(2, "socat -u TCP-LISTEN:5007,reuseaddr OPEN:/dev/null < /dev/null > /tmp/err 2>&1 &")
    cluster.until(2, "ss -ltn | grep :5007")
    cluster.until(
        1,
        "(sleep 2; echo) | socat -u - TCP:192.168.1.2:5007 & sleep 1; "
        "[ $(ss -tn dport = :5007 | grep -c :5007) -eq 1 ]",
    )
