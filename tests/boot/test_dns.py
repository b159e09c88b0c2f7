"""Names for guests and for the host, with no internet, and a pretended one."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tasks.run.net.dns_place import PORT
from tests.boot.conftest import WORKSPACE, Cluster, assert_nothing_left, running
from tests.run.services.test_dns import ask, ip

pytestmark = pytest.mark.boot
USERSPACE = "--net=userspace"  # where clusters share a server, at the host's loopback
OVERLAYS = ("env", "network-topology", "iptools", "dns")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A node and a router with a DNS server each, and a name of their own."""
    names = tmp_path_factory.mktemp("names") / "dns.hosts"
    names.write_text("192.0.2.7 seven.example.org\n2001:db8::7 seven.example.org\n")
    Cluster("t-dns").xc("mkcdrom", *OVERLAYS)
    yield from running("t-dns", ["--nvm=1", "--nrouters=1", "--dns=on", f"--dns-hosts={names}", USERSPACE])


def server() -> "dict[str, object]":
    """What `dns status` says."""
    return dict(json.loads(Cluster("t-dns").xc("dns", "status", "-o", "json").stdout))


def test_the_host_knows_nodes_and_names(named: Cluster) -> None:
    assert "t-dns" in str(server()["clusters"])
    assert ask(PORT, "vm-201.t-dns.xcluster", "A") == (0, [ip("192.168.1.201")])
    assert ask(PORT, "vm-001.t-dns.xcluster", "AAAA") == (0, [ip("fd00::192.168.1.1")])
    assert ask(PORT, "seven.example.org", "A", tcp=True) == (0, [ip("192.0.2.7")])


@pytest.mark.parametrize("where", ["", "192.168.0.250:10053"])
def test_guests_know_nodes_and_names(named: Cluster, where: str) -> None:
    for number, name, address in (
        (1, "vm-201", "192.168.1.201"),
        (201, "vm-001", "fd00::c0a8:101"),
        (1, "seven.example.org", "192.0.2.7"),
        (201, "192.168.1.1", "vm-001"),
    ):
        assert address in named.until(number, f"nslookup {name} {where}")


def test_programs_of_guests_resolve_by_the_local_server(named: Cluster) -> None:
    assert named.rsh(1, "cat /etc/resolv.conf").split() == ["nameserver", "192.168.0.1", "options", "use-vc"]
    assert "192.0.2.7" in named.until(1, "ping -4 -c1 -W1 seven.example.org 2>&1; true")


def test_a_second_cluster_and_a_server_that_was_killed(named: Cluster) -> None:
    os.kill(int(str(server()["pid"])), signal.SIGKILL)
    for second in running("t-dns2", ["--nvm=1", "--nrouters=0", "--dns=on", "--prefix=fd02:", USERSPACE]):
        assert {"t-dns", "t-dns2"} <= set(str(server()["clusters"]).replace("'", "").strip("[]").split(", "))
        assert ask(PORT, "vm-001.t-dns2.xcluster", "AAAA") == (0, [ip("fd02::192.168.1.1")])
        assert ask(PORT, "vm-001.t-dns.xcluster", "AAAA") == (0, [ip("fd00::192.168.1.1")])
        assert ask(PORT, "vm-001", "AAAA") == (0, [ip("fd00::192.168.1.1")])  # who was first
        assert "fd02::c0a8:101" in second.until(1, "nslookup vm-001.t-dns2.xcluster 192.168.0.250:10053")
    assert ask(PORT, "vm-001.t-dns2.xcluster", "AAAA")[0] == 3
    assert ask(PORT, "vm-001.t-dns.xcluster", "A")[0] == 0


def test_a_pretended_internet_through_the_router(named: Cluster) -> None:
    named.xc("fakenet", "start")
    assert "203.0.113.80" in named.until(1, "nslookup www.google.se")
    assert "192.168.1.201" in named.rsh(1, "ip route get 203.0.113.80")
    for number in (1, 201):
        assert "www.google.se" in named.until(number, "timeout 20 wget -q -O - http://www.google.se")
    assert "192.168.1.201" in named.rsh(1, "nslookup vm-201")
    named.xc("fakenet", "stop")
    assert ask(PORT, "vm-001.t-dns.xcluster", "A")[0] == 0
    assert named.xc("rsh", "1", "timeout 3 wget -q -O - http://203.0.113.80", ok=False).returncode != 0


def test_a_port_that_is_taken(named: Cluster) -> None:
    named.xc("dns", "stop")
    assert not server()["running"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", PORT))
        other.listen()
        words = ("starts", "--nvm=1", "--nrouters=0", USERSPACE)
        refused = Cluster("t-dnsport").xc(*words, "--dns=on", ok=False)
        assert refused.returncode == 1
        assert f"port {PORT}" in refused.stderr and f"process {os.getpid()}" in refused.stderr
        assert_nothing_left("t-dnsport")
        started = Cluster("t-dnsport").xc(*words)
        assert f"warning: no DNS server: port {PORT}" in started.stderr
        Cluster("t-dnsport").xc("stop")
        assert_nothing_left("t-dnsport")
    named.xc("dns", "start")
    assert ask(PORT, "vm-001.t-dns.xcluster", "A")[0] == 0
    named.xc("dns", "stop")
    assert not server()["running"] and not (WORKSPACE / "run" / ".dns").exists()
    again = subprocess.run(named.command("dns", "stop"), capture_output=True, text=True, check=False)
    assert again.returncode == 0 and "no DNS server runs" in again.stderr


@pytest.fixture(scope="module")
def bridged() -> Iterator[Cluster]:
    """The same with bridges, where a cluster has a server for itself."""
    Cluster("t-dnsbr").xc("mkcdrom", *OVERLAYS)
    yield from running("t-dnsbr", ["--nvm=1", "--nrouters=1", "--dns=on", "--net=bridge"])


def test_a_cluster_with_bridges_has_its_own_server(bridged: Cluster) -> None:
    own = json.loads(bridged.xc("dns", "status", "-o", "json").stdout)["own"]
    assert own["t-dnsbr"]
    bridged.xc("scaleout", "3")
    assert "192.168.1.3" in bridged.until(1, "nslookup vm-003")  # which is not in its /etc/hosts
    assert "fd00::c0a8:1c9" in bridged.until(3, "nslookup vm-201.t-dnsbr.xcluster 192.168.0.250:10053")


def test_a_pretended_internet_behind_bridges(bridged: Cluster) -> None:
    bridged.xc("fakenet", "start")
    assert "203.0.113.80" in bridged.until(1, "nslookup www.google.se")
    assert "www.google.se" in bridged.until(1, "timeout 20 wget -q -O - http://www.google.se")
    bridged.xc("fakenet", "stop")
    assert bridged.xc("rsh", "1", "timeout 3 wget -q -O - http://203.0.113.80", ok=False).returncode != 0
