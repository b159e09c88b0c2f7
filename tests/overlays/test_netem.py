"""netem: the delay and the loss that were asked for, measured by ping."""

import re
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import with_overlay

DELAY = 1500  # ms; well above what a busy host adds


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    env = {"xcluster_NETEM": f"2/1=delay {DELAY}ms; 3=loss 100%"}
    yield from with_overlay("netem", "--nvm=2", env=env)


def fastest(cluster: Cluster, address: str) -> float:
    """The smallest round-trip time of some pings, in ms."""
    output = cluster.until(1, f"ping -c3 -W9 {address}")
    return float(re.findall(r"= ([0-9.]+)/", output)[0])


@pytest.mark.parametrize("address", ["192.168.1.2", "fd00::192.168.1.2"])
def test_delay_from_the_start_on_one_node(cluster: Cluster, address: str) -> None:
    assert f"delay {DELAY / 1000}s" in cluster.rsh(2, "netem 1")
    assert "netem" not in cluster.rsh(1, "netem")
    assert fastest(cluster, address) >= DELAY


def test_delay_of_both_sides_adds_up(cluster: Cluster) -> None:
    cluster.rsh(1, f"netem 1 delay {DELAY}ms")
    assert fastest(cluster, "192.168.1.2") >= 2 * DELAY
    cluster.rsh(1, "netem 1 off")


def test_loss_and_off(cluster: Cluster) -> None:
    cluster.rsh(2, "netem eth1 loss 100%")
    assert cluster.xc("rsh", "1", "ping -c2 -W2 192.168.1.2", ok=False).returncode != 0
    assert "dropped 0" not in cluster.rsh(2, "netem 1").splitlines()[1]
    cluster.rsh(2, "netem 1 off")
    assert fastest(cluster, "192.168.1.2") < DELAY


@pytest.mark.parametrize(("words", "code"), [("foo delay 1ms", 2), ("7 delay 1ms", 1), ("1 nonsense", 1)])
def test_wrong_words(cluster: Cluster, words: str, code: int) -> None:
    done = cluster.xc("rsh", "1", f"netem {words}", ok=False)
    assert (done.returncode, bool(done.stderr)) == (code, True)
