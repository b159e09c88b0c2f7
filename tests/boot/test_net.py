"""The nets between nodes in user space, and what overlays make of them."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster, running

pytestmark = pytest.mark.boot


@pytest.mark.parametrize("address", ["192.168.1.202", "fd00::192.168.1.202"])
def test_a_node_pings_a_router_over_the_cluster_net(base: Cluster, address: str) -> None:
    base.until(1, f"ping -c1 -W2 {address}")


@pytest.mark.parametrize("address", ["192.168.1.2", "fd00::192.168.1.2"])
def test_a_tester_pings_a_node_through_the_routers(base: Cluster, address: str) -> None:
    base.until(221, f"ping -c1 -W2 {address}")
    assert "via" in base.rsh(221, f"ip route get {address}")


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_default_routes_use_both_routers(base: Cluster, family: str) -> None:
    routes = base.rsh(1, f"ip {family} route show default")
    assert routes.count("nexthop") == 2


def test_a_node_reaches_the_host_but_no_other_node_on_net_0(base: Cluster) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        base.rsh(1, f"echo hello | nc -w 2 192.168.0.250 {port} &")
        server.settimeout(10)
        peer, _ = server.accept()
        peer.close()
    assert base.xc("rsh", "1", "ping -c1 -W1 192.168.0.2", ok=False).returncode != 0


def test_forwards_listen_on_loopback_only(base: Cluster) -> None:
    port = base.status()["nodes"][0]["ssh"]
    with open("/proc/net/tcp", encoding="ascii") as table:
        listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening


def test_lldp_frames_pass_the_switch(base: Cluster) -> None:
    """A frame to 01:80:c2:00:00:0e, which a Linux bridge keeps to itself, passes."""
    base.rsh(1, "tcpdump -c1 -ni eth1 ether proto 0x88cc > /tmp/lldp 2>/dev/null &")
    frame = bytes.fromhex("0180c200000e 000000010163 88cc") + b"\x02\x07\x04\0\0\0\1\1\x63".ljust(46, b"\0")
    with socket.socket(socket.AF_UNIX) as port:
        port.connect(str(base.directory / "net" / "1"))
        for _ in range(60):
            port.sendall(struct.pack(">I", len(frame)) + frame)
            if base.rsh(1, "cat /tmp/lldp"):
                break
            time.sleep(0.2)
    assert "LLDP" in base.rsh(1, "cat /tmp/lldp")


def test_no_default_route_over_net_0(base: Cluster) -> None:
    for family in ("-4", "-6"):
        assert "eth0" not in base.rsh(1, f"ip {family} route show default")


@pytest.fixture(scope="module")
def second() -> Iterator[Cluster]:
    """A second cluster beside the first, other settings."""
    yield from running(
        "t-second",
        [
            "--nvm=2",
            "--nrouters=0",
            "--mtu=9000",
            "--prefix=fd01:",
            "--telnet",
            "--mem1=96",
            "--net=userspace",
        ],
    )


def test_clusters_side_by_side_do_not_meet(base: Cluster, second: Cluster) -> None:
    ports = [node["ssh"] for cluster in (base, second) for node in cluster.status()["nodes"]]
    assert len(ports) == len(set(ports))
    base.rsh(1, "echo base > /tmp/who")
    second.rsh(1, "echo second > /tmp/who")
    assert base.rsh(1, "cat /tmp/who").strip() == "base"


def test_jumbo_frames_prefix_and_own_memory(second: Cluster) -> None:
    second.until(1, "ping -c1 -W2 -s 8000 192.168.1.2")
    assert "mtu 9000" in second.rsh(1, "ip link show eth1")
    second.until(2, "ping -c1 -W2 fd01::192.168.1.1")
    assert int(second.rsh(1, "awk '/MemTotal/{print $2}' /proc/meminfo")) < 96 * 1024
    assert int(second.rsh(2, "awk '/MemTotal/{print $2}' /proc/meminfo")) > 96 * 1024 // 2


def test_telnet_only_where_asked_for(base: Cluster, second: Cluster) -> None:
    assert base.xc("rsh", "1", "pidof telnetd", ok=False).returncode != 0
    ssh = second.status()["nodes"][0]["ssh"]
    with socket.create_connection(("127.0.0.1", ssh - 300), timeout=10) as telnet:
        assert telnet.recv(16)
