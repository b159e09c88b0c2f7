"""Load balancing: ECMP and IPVS spread connections; maglev keeps a source at its node."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import with_overlay

VIPS = ["10.9.0.1", "[fd00::10.9.0.1]"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("load-balancer", "--nvm=2", "--nrouters=1", "--ntesters=1")


def answers(cluster: Cluster, vip: str, sources: list[str]) -> list[str]:
    """Which node answers a connection from each of these addresses of the tester; empty means any."""
    cluster.until(221, f"wget -q -O - http://{vip}/cgi-bin/info")
    ask = r"printf 'GET /cgi-bin/info HTTP/1.0\r\n\r\n' | socat -t 20 - TCP:{}:80{} | grep ^Host"
    commands = [ask.format(vip, f",bind={source}" if source else "") for source in sources]
    return cluster.rsh(221, "; ".join(commands)).replace("Host ", "").split()


@pytest.mark.parametrize("vip", VIPS)
def test_ecmp_spreads_connections(cluster: Cluster, vip: str) -> None:
    assert "ecmp" in cluster.rsh(201, "lb show")
    counted = Counter(answers(cluster, vip, [""] * 16))
    print(dict(counted))
    assert counted.total() == 16
    assert set(counted) == {"vm-001", "vm-002"}


@pytest.mark.parametrize("vip", VIPS)
def test_maglev_keeps_a_source_at_its_node(cluster: Cluster, vip: str) -> None:
    cluster.rsh(201, "lb ipvs")
    assert "mh" in cluster.rsh(201, "ipvsadm -L -n")
    if vip.startswith("["):
        sources = [f"[fd00::192.168.2.{n}]" for n in range(100, 108)]
    else:
        sources = [f"192.168.2.{n}" for n in range(100, 108)]
    for source in sources:
        bare = source.strip("[]")
        cluster.rsh(221, f"ip address replace {bare}/{128 if ':' in bare else 32} dev eth1 nodad")
    first = answers(cluster, vip, sources)
    assert len(first) == len(sources)
    assert set(first) == {"vm-001", "vm-002"}
    assert answers(cluster, vip, sources) == first


def test_a_node_that_is_taken_out_gets_nothing(cluster: Cluster) -> None:
    cluster.rsh(201, "lb ipvs; lb backends 2")
    assert set(answers(cluster, VIPS[0], [""] * 4)) == {"vm-002"}
    cluster.rsh(201, "lb ecmp")
    assert set(answers(cluster, VIPS[0], [""] * 4)) == {"vm-002"}


def test_off_and_wrong_words(cluster: Cluster) -> None:
    cluster.rsh(201, "lb off")
    assert "10.9.0.1" not in cluster.rsh(201, "ip address show dev lo; ip route")
    assert cluster.xc("rsh", "201", "lb round", ok=False).returncode == 2
