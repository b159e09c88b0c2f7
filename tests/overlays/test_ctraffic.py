"""ctraffic and udp-test: to a virtual address that routers spread, and over a link that loses packets."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import with_overlay

VIPS = ["10.9.0.1", "[fd00::10.9.0.1]"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    for cluster in with_overlay("ctraffic", "--nvm=2", "--nrouters=1", more=["load-balancer", "udp-test"]):
        for number in (1, 2):
            serve(cluster, number, "ctraffic -server -address [::]:5003")
            serve(cluster, number, "ctraffic -server -udp -address [::]:5003")
            serve(cluster, number, "udp-test -server -address [::]:6001")
        yield cluster


def serve(cluster: Cluster, number: int, command: str) -> None:
    """Start a server; /tmp/LETTER.pid is its process, for t(cp) and u(dp)."""
    kind = "u" if "udp" in command else "t"
    cluster.rsh(number, f"{command} < /dev/null > /tmp/{kind}.log 2>&1 & echo $! > /tmp/{kind}.pid")
    cluster.until(number, f"netstat -{kind}ln | grep :{command.rpartition(':')[2]}")


def traffic(cluster: Cluster, words: str) -> tuple[int, Any]:
    """The exit code, and the statistics, of ctraffic on the router."""
    done = cluster.xc("rsh", "201", f"ctraffic -timeout 5s -stats all {words}", ok=False)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("udp", ["", "-udp"])
@pytest.mark.parametrize("vip", VIPS)
def test_connections_are_spread_and_every_packet_comes_back(cluster: Cluster, vip: str, udp: str) -> None:
    code, seen = traffic(cluster, f"{udp} -address {vip}:5003 -nconn 16 -rate 64")
    assert (code, seen["FailedConnections"], seen["FailedConnects"]) == (0, 0, 0), seen
    assert set(seen["Hosts"]) <= {"vm-001", "vm-002"} and sum(seen["Hosts"].values()) == 16
    # A router that is the client itself chooses a path for IPv6 before a TCP connection has a port.
    assert len(seen["Hosts"]) == 2 or (":" in vip and not udp)
    assert seen["Received"] == seen["Sent"] and 200 < seen["Sent"] + seen["Dropped"] <= 336
    assert len(seen["ConnStats"]) == 16 and len(seen["Samples"]) >= 5


def test_source_addresses_from_a_range(cluster: Cluster) -> None:
    cluster.rsh(
        201, "ip address replace 192.168.1.201/24 dev eth1; ip route replace local 10.77.0.0/24 dev lo"
    )
    for number in (1, 2):
        cluster.rsh(number, "ip route replace 10.77.0.0/24 via 192.168.1.201")
    code, seen = traffic(cluster, "-address 192.168.1.1:5003 -nconn 8 -srccidr 10.77.0.0/24")
    assert code == 0
    assert len({each["Local"].partition(":")[0] for each in seen["ConnStats"]}) > 3
    assert all(each["Local"].startswith("10.77.0.") for each in seen["ConnStats"])


@pytest.mark.parametrize("to", ["192.168.1.2", "[fd00::192.168.1.2]", *VIPS])
def test_datagrams_that_all_arrive(cluster: Cluster, to: str) -> None:
    report = cluster.rsh(201, f"udp-test -address {to}:6001 -n 200 -rate 200 -psize 1000")
    assert report.partition(": ")[2].strip() == (
        "sent 200, received 200, lost 0, duplicates 0, out of order 0"
    )


@pytest.mark.parametrize("what, key", [("loss 30%", "lost"), ("duplicate 30%", "duplicates")])
def test_datagrams_that_are_lost_or_come_twice(cluster: Cluster, what: str, key: str) -> None:
    cluster.rsh(1, f"tc qdisc replace dev eth1 root netem {what}")
    try:
        command = "udp-test -output json -timeout 20s -address 192.168.1.2:6001 -n 300 -rate 300"
        done = cluster.xc("rsh", "1", command, ok=False)
    finally:
        cluster.rsh(1, "tc qdisc del dev eth1 root")
    report = json.loads(done.stdout)
    # Where a question for the address of the neighbour is lost too, so is a second of datagrams.
    assert 40 < report[key] < 290 and report["received"] + report["lost"] == 300
    assert done.returncode == (1 if key == "lost" else 0)


def test_large_datagrams_are_fragmented(cluster: Cluster) -> None:
    assert "received 20," in cluster.rsh(1, "udp-test -address 192.168.1.2:6001 -n 20 -rate 50 -psize 5000")


def test_lost_connections_are_counted_and_replaced(cluster: Cluster) -> None:
    """The server on vm-002 goes while there is traffic; new connections find the other one."""
    words = "-address 10.9.0.1:5003 -nconn 12 -rate 48 -stat_file /tmp/stats -stats all -monitor -timeout 30s"
    cluster.rsh(201, f"(ctraffic {words}; echo $? > /tmp/code) < /dev/null > /dev/null 2> /tmp/monitor &")
    cluster.until(201, "grep 'connects: 12/0/0,' /tmp/monitor")
    cluster.rsh(2, "kill $(cat /tmp/t.pid)")
    assert cluster.until(201, "cat /tmp/code", 60).strip() == "1"
    assert "first failure" in cluster.rsh(201, "cat /tmp/monitor")
    hosts = cluster.rsh(201, "ctraffic -analyze hosts -stat_file /tmp/stats").splitlines()
    lost, lasting = (hosts.index(line) for line in hosts if "connections:" in line)
    assert hosts[lost].startswith("Lost") and hosts[lost + 1].split()[0] == "vm-002"
    assert "vm-001" in "".join(hosts[lasting:])
    assert "closed the connection" in cluster.rsh(201, "ctraffic -analyze connections -stat_file /tmp/stats")
    table = cluster.rsh(201, "ctraffic -analyze throughput -stat_file /tmp/stats").splitlines()
    assert len(table) >= 6 and float(table[2].split()[1]) > 20


def test_nobody_answers(cluster: Cluster) -> None:
    done = cluster.xc("rsh", "1", "udp-test -address 192.168.1.2:6999 -n 3 -timeout 1s", ok=False)
    assert done.returncode == 2 and "no report from 192.168.1.2:6999" in done.stderr
    done = cluster.xc("rsh", "1", "ctraffic -address 192.168.1.2:6999 -retries 2 -timeout 5s", ok=False)
    assert done.returncode == 1 and json.loads(done.stdout)["FailedConnects"] == 3
