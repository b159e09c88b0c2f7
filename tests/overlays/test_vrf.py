"""VRF devices: two nodes with the same address, and a router that knows both."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    nets = ["--nets1=0,1,3", "--nets2=0,1,4", "--nets-router=0,1,2,3,4"]
    yield from with_overlay("vrf", "--nvm=2", "--nrouters=1", *nets)


@pytest.mark.parametrize(("vrf", "host"), [("red", "vm-001"), ("blue", "vm-002")])
@pytest.mark.parametrize("address", ["10.0.0.1", "[fd00::10.0.0.1]"])
def test_one_address_in_two_vrfs_is_two_nodes(cluster: Cluster, vrf: str, host: str, address: str) -> None:
    page = cluster.until(201, f"ip vrf exec {vrf} wget -q -O - http://{address}/cgi-bin/info")
    assert page.strip() == f"Host {host}"


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_vrf_has_only_its_own_routes(cluster: Cluster, family: str) -> None:
    main, red, blue = (
        cluster.rsh(201, f"ip {family} route show {what}") for what in ("", "vrf red", "vrf blue")
    )
    overlapping = "10.0.0.0/24" if family == "-4" else "fd00::a00:0/120"
    assert overlapping not in main
    assert f"{overlapping} dev eth3" in red
    assert f"{overlapping} dev eth4" in blue
    other = "192.168.1.1" if family == "-4" else "fd00::192.168.1.1"
    assert cluster.xc("rsh", "201", f"ip {family} route get vrf red {other}", ok=False).returncode != 0


def test_nothing_leaks_from_red_to_blue(cluster: Cluster) -> None:
    """vm-001 asks the router to forward to an address that only blue has."""
    cluster.rsh(2, "ip address add 10.8.0.2/32 dev lo; ip route add 10.7.0.0/24 via 10.0.0.201")
    cluster.rsh(201, "ip route add 10.8.0.2/32 via 10.0.0.1 vrf blue")
    cluster.rsh(1, "ip route add 10.8.0.0/24 via 10.0.0.201")
    cluster.until(201, "ip vrf exec blue ping -c1 -W3 10.8.0.2")
    assert cluster.xc("rsh", "1", "ping -c1 -W3 10.8.0.2", ok=False).returncode != 0


def test_services_of_the_router_answer_in_a_vrf(cluster: Cluster) -> None:
    page = cluster.until(2, "wget -q -O - http://10.0.0.201/cgi-bin/info")
    assert page.strip() == "Host vm-201"
