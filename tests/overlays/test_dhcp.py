"""DHCPv4, and addresses from router advertisements."""

import re
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("dhcp", "--nvm=1", "--nrouters=1", "--nets-vm=0,1,3", "--nets-router=0,1,2,3")


def test_udhcpc_gets_an_address_of_the_range(cluster: Cluster) -> None:
    assert "192.168.3." not in cluster.rsh(1, "ip address show dev eth2")
    cluster.until(1, "udhcpc -n -q -t 5 -i eth2")
    address = cluster.rsh(1, "ip -4 -o address show dev eth2").split()[3]
    assert address.endswith("/24")
    assert 100 <= int(address.removesuffix("/24").removeprefix("192.168.3.")) <= 199
    assert address.removesuffix("/24") in cluster.rsh(201, "cat /var/lib/misc/dnsmasq.leases")
    assert "via 192.168.3.201 dev eth2" in cluster.rsh(1, "ip route show default")
    cluster.until(1, ping("192.168.3.201", "-I", address.removesuffix("/24")))


def test_a_router_advertisement_gives_an_address_and_a_route(cluster: Cluster) -> None:
    cluster.rsh(1, "ip link set eth2 up")
    addresses = cluster.until(1, "ip -6 -o address show dev eth2 scope global dynamic | grep fd00:3::", 60)
    assert "fd00:3::200:ff:fe01:301/64" in addresses
    assert "proto ra" in cluster.rsh(1, "ip -6 route show default dev eth2")
    cluster.until(1, ping("fd00:3::201", "-6"))


def test_dhcpv6_gives_an_address_of_the_range(cluster: Cluster) -> None:
    cluster.until(1, "dhcp6c eth2", 90)
    assert re.search("fd00:3::1[0-9a-f][0-9a-f]/128", cluster.rsh(1, "ip -6 -o address show dev eth2"))
    assert "fd00:3::1" in cluster.rsh(201, "cat /var/lib/misc/dnsmasq.leases")


def test_the_server_does_not_answer_on_other_nets(cluster: Cluster) -> None:
    assert cluster.xc("rsh", "1", "udhcpc -n -q -t 2 -T 1 -s /bin/true -i eth1", ok=False).returncode != 0
