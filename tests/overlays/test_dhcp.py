"""DHCPv4, and addresses from router advertisements."""

import re
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import ping, with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("dhcp", "--nvm=2", "--nrouters=1", "--nets-vm=0,1,3", "--nets-router=0,1,2,3")


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


def test_udhcpc6_calls_a_script_as_busyboxs_does(cluster: Cluster) -> None:
    """As overlays in xcluster's style call it, with a script of their own and without one."""
    script = """#!/bin/sh
    echo $1 $interface $ipv6 >> /tmp/events"""
    cluster.rsh(2, f"echo '{script}' > /tmp/script; chmod 755 /tmp/script")
    cluster.until(2, "udhcpc6 -nqf -t 5 -i eth2 -s /tmp/script", 90)
    *_, first, second = cluster.rsh(2, "cat /tmp/events").splitlines()
    assert first == "deconfig eth2" and re.fullmatch(r"bound eth2 fd00:3::1[0-9a-f]{2}", second)
    cluster.until(2, "udhcpc6 -nqfo -t 5 -i eth2", 90)
    assert re.search("fd00:3::1[0-9a-f][0-9a-f]/128", cluster.rsh(2, "ip -6 -o address show dev eth2"))
    nobody = cluster.xc("rsh", "2", "udhcpc6 -nqf -t 1 -T 1 -i eth1", ok=False)
    assert nobody.returncode == 1
    assert "no interface eth9" in cluster.xc("rsh", "2", "udhcpc6 -i eth9", ok=False).stderr


def test_inetd_starts_what_is_asked_for(cluster: Cluster) -> None:
    conf = "7777 stream tcp6 nowait root /bin/hostname hostname"
    cluster.rsh(2, f"echo '{conf}' > /tmp/inetd.conf; inetd /tmp/inetd.conf")
    assert cluster.until(1, "nc -w 5 192.168.1.2 7777").strip() == "vm-002"


def test_the_server_does_not_answer_on_other_nets(cluster: Cluster) -> None:
    assert cluster.xc("rsh", "1", "udhcpc -n -q -t 2 -T 1 -s /bin/true -i eth1", ok=False).returncode != 0
