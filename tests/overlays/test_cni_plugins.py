"""CNI plugins make the interface of a pod, and take it away."""

import json
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("cni-plugins", "--nvm=2")


def test_the_bridge_plugin(cluster: Cluster) -> None:
    first, second = (json.loads(cluster.rsh(1, f"cni add {name}")) for name in "ab")
    addresses = [answer["address"] for answer in first["ips"]]
    assert addresses == ["10.245.1.2/24", "fd00:245:1::2/64"]
    inside = cluster.rsh(1, "ip -n a -br address show dev eth0")
    assert all(address in inside for address in addresses)
    assert "master cni0" in cluster.rsh(1, f"ip link show dev {second['interfaces'][1]['name']}")
    for address in ("10.245.1.3", "fd00:245:1::3"):
        cluster.until(1, f"ip netns exec a {ping(address)}")
    cluster.rsh(1, "cni check a")
    cluster.rsh(1, "ip -n a address flush dev eth0")
    assert cluster.xc("rsh", "1", "cni check a", ok=False).returncode != 0
    cluster.rsh(1, "cni del a; cni del b")
    assert cluster.rsh(1, "ip netns list").strip() == ""
    assert "10.245" not in cluster.rsh(1, "ls /var/lib/cni/networks/pods")


def test_pods_of_two_nodes(cluster: Cluster) -> None:
    for number in (1, 2):
        cluster.rsh(number, "cni add pod")
    address = cluster.rsh(2, "ip -n pod -4 -o address show dev eth0").split()[3].removesuffix("/24")
    cluster.until(1, f"ip netns exec pod {ping(address)}")


def test_another_plugin(cluster: Cluster) -> None:
    """macvlan on eth1, with addresses that the configuration names."""
    conf = {
        "cniVersion": "1.0.0", "name": "direct", "type": "macvlan", "master": "eth1",
        "ipam": {"type": "static", "addresses": [{"address": "192.168.1.77/24"}]},
    }  # fmt: skip
    cluster.rsh(1, f"echo '{json.dumps(conf)}' > /tmp/direct.conf; cni add direct /tmp/direct.conf")
    cluster.until(2, ping("192.168.1.77"))


def test_wrong_words(cluster: Cluster) -> None:
    done = cluster.xc("rsh", "1", "cni make a", ok=False)
    assert (done.returncode, "none of add, del, check" in done.stderr) == (2, True)
