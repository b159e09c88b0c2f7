"""tap-scrambler: fragments of both families, and another order, in what a router forwards."""

import re
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, seen, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    words = ["--nvm=1", "--nrouters=1", "--ntesters=1"]
    yield from with_overlay("tap-scrambler", *words, more=["ctraffic"])


@pytest.mark.parametrize("to", ["192.168.1.1", "fd00::192.168.1.1"])
def test_packets_leave_in_fragments_backwards(cluster: Cluster, to: str) -> None:
    """They are looked at on the router, since bridges of a host may put fragments of IPv4 in order again."""
    cluster.rsh(201, "scramble 2 -- -fragment=600")
    kind = "ip6 proto 44" if ":" in to else "ip[6:2] & 0x3fff != 0"
    packets = seen(cluster, 201, f"-v -i eth1 '{kind}'", (221, ping(to, "-s", "1400")), 3)
    offsets = re.findall(r"frag \(0x\w+:(\d+)\|" if ":" in to else r"offset (\d+), flags", packets)
    assert len(offsets) == 3, packets
    assert [int(each) for each in offsets] == sorted(map(int, offsets), reverse=True)
    assert int(offsets[-1]) == 0


def test_connections_survive_it(cluster: Cluster) -> None:
    cluster.rsh(201, "scramble 1 2 -- -fragment=500 -order=random -hold=10ms")
    cluster.rsh(1, "ctraffic -server -address [::]:5003 < /dev/null > /dev/null 2>&1 &")
    cluster.until(1, "netstat -tln | grep :5003")
    cluster.rsh(221, "ctraffic -address 192.168.1.1:5003 -nconn 4 -rate 40 -timeout 5s")
    cluster.rsh(221, "ctraffic -address '[fd00::192.168.1.1]:5003' -nconn 4 -rate 40 -timeout 5s")


def test_datagrams_out_of_order_are_counted(cluster: Cluster) -> None:
    cluster.rsh(201, "scramble 2 -- -order=reverse -hold=200ms")
    cluster.rsh(1, "udp-test -server -address [::]:6001 < /dev/null > /dev/null 2>&1 &")
    cluster.until(1, "netstat -uln | grep :6001")
    report = cluster.rsh(221, "udp-test -address 192.168.1.1:6001 -n 200 -rate 100")
    lost, disordered = (int(re.findall(rf"{word} (\d+)", report)[0]) for word in ("lost", "out of order"))
    assert lost == 0 and disordered > 100


def test_it_is_taken_away(cluster: Cluster) -> None:
    cluster.rsh(201, "scramble off")
    assert re.search(r"packets [1-9]\d*, sent [1-9]", cluster.rsh(201, "cat /var/log/scramble.log"))
    assert "scramble0" not in cluster.rsh(201, "ip rule; ip link")
    report = cluster.rsh(221, "udp-test -address 192.168.1.1:6001 -n 100 -rate 100")
    assert "lost 0, duplicates 0, out of order 0" in report
    done = cluster.xc("rsh", "201", "scramble 9", ok=False)
    assert done.returncode == 1 and "no interface on net 9" in done.stderr
