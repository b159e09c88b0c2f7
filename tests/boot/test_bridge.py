"""Clusters on Linux bridges: in a namespace of their own, in one made by root, and with a user's program."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.run.net import host_support, obstacles
from tests.boot.conftest import ROOT, WORKSPACE, Cluster, assert_nothing_left, processes_of, running
from tests.conftest import eventually

pytestmark = [
    pytest.mark.boot,
    pytest.mark.skipif(bool(obstacles.of_bridges()), reason=f"no bridges here: {obstacles.of_bridges()}"),
]
CHECKSUM, TSO4, HOST_TSO4 = 0, 7, 11  # features of virtio-net: 5.1.3 of its specification
NUMBER = 73  # of the namespace that root makes


def namespace(cluster: Cluster) -> str:
    """The network namespace of a running cluster."""
    state = json.loads((cluster.directory / "net" / "place.json").read_text())
    return os.readlink(f"/proc/{state['inner']['pid']}/ns/net")


def processes_in(space: str) -> list[str]:
    """The processes in a network namespace; it is gone when there is none."""
    numbers = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "ns/net") == space:
                numbers.append(process.name)
        except OSError:
            continue
    return numbers


def features(cluster: Cluster, node: int, nic: str) -> set[int]:
    """What a guest has agreed on with a NIC."""
    bits = cluster.rsh(node, f"cat /sys/class/net/{nic}/device/features").strip()
    return {number for number, bit in enumerate(bits) if bit == "1"}


def links(cluster: Cluster) -> dict[str, Any]:
    """The links in the cluster's namespace."""
    output = cluster.xc("enter", "ip", "-d", "-j", "link").stdout
    return {link["ifname"]: link for link in json.loads(output)}


@pytest.fixture(scope="module")
def bridged() -> Iterator[Cluster]:
    """A node of each role, on bridges for jumbo frames."""
    words = ["--nvm=2", "--nrouters=1", "--ntesters=1", "--net=bridge", "--mtu=9000", "--telnet"]
    space = ""
    for cluster in running("t-bridge", words):
        space = namespace(cluster)
        yield cluster
    assert space.startswith("net:") and processes_in(space) == []


def test_the_summary_says_which_nets(bridged: Cluster) -> None:
    output = bridged.xc("status").stdout
    assert "net bridge" in output and "died" not in output
    assert bridged.status()["dead"] == []


@pytest.mark.parametrize("address", ["192.168.1.2", "fd00::192.168.1.2", "192.168.1.201", "192.168.0.2"])
def test_a_node_pings_its_neighbours(bridged: Cluster, address: str) -> None:
    bridged.until(1, f"ping -c1 -W2 {address}")


@pytest.mark.parametrize("address", ["192.168.1.1", "fd00::192.168.1.1", "192.168.2.201"])
def test_a_tester_pings_through_the_router(bridged: Cluster, address: str) -> None:
    bridged.until(221, f"ping -c1 -W2 {address}")


@pytest.mark.parametrize("net", [0, 1, 2])
@pytest.mark.parametrize("address", ["192.168.{}.250", "fd00::192.168.{}.250"])
def test_the_host_is_a_neighbour_on_every_net(bridged: Cluster, net: int, address: str) -> None:
    bridged.until(201, f"ping -c1 -W2 {address.format(net)}")
    own = address.format(net).replace(".250", ".201")
    bridged.xc("enter", "ping" if Path("/usr/bin/ping").exists() else "true", "-c1", "-W5", own)


def test_jumbo_frames_pass_whole(bridged: Cluster) -> None:
    bridged.rsh(2, "timeout 20 tcpdump -c1 -ni eth1 'icmp and greater 8900' >/tmp/jumbo 2>/dev/null &")
    bridged.until(2, "pidof tcpdump")
    bridged.until(1, "ping -c3 -W2 -s 8900 192.168.1.2")
    assert "length 8908" in bridged.until(2, "grep length /tmp/jumbo")
    assert {links(bridged)[name]["mtu"] for name in ("xcbr1", "xcbr1_t1", "xcbr1_t2")} == {9000}
    for nic in ("eth0", "eth1"):
        assert "mtu 9000" in bridged.rsh(1, f"ip link show {nic}")


def test_clones_have_agreed_on_checksums_and_segmentation(bridged: Cluster) -> None:
    """They were not there when that was done: the snapshot must have had taps."""
    assert "snapshot" in bridged.xc("logs", "1", "--events").stdout
    for nic in ("eth0", "eth1"):
        assert {CHECKSUM, TSO4, HOST_TSO4} <= features(bridged, 1, nic)


def test_forwards_lead_to_the_nodes(bridged: Cluster) -> None:
    nodes = bridged.status()["nodes"]
    assert len(nodes) == 4
    for node in nodes:
        assert node["host"] == "127.0.0.1"
        with socket.create_connection(("127.0.0.1", node["ssh"]), timeout=10) as link:
            assert link.recv(8).startswith(b"SSH-2.0-")
        with socket.create_connection(("127.0.0.1", node["ssh"] - 300), timeout=10) as telnet:
            assert telnet.recv(16)


def test_a_guest_reaches_servers_of_the_host_and_in_the_namespace(bridged: Cluster) -> None:
    bridged.rsh(1, "ip route replace 10.0.2.0/24 via 192.168.0.250")
    with socket.create_server(("127.0.0.1", 0)) as server:
        bridged.rsh(1, f"echo hello | nc -w 5 10.0.2.2 {server.getsockname()[1]} >/dev/null &")
        server.settimeout(20)
        link, _ = server.accept()
        assert link.recv(6) == b"hello\n"
        link.close()
    code = "import socket; s = socket.create_server(('192.168.0.250', 10099)); print('ready', flush=True);"
    code += "print(s.accept()[0].recv(6))"
    with subprocess.Popen(
        bridged.command("enter", "python3", "-c", code), stdout=subprocess.PIPE, cwd=ROOT
    ) as inner:
        assert inner.stdout and inner.stdout.readline() == b"ready\n"
        bridged.rsh(1, "echo hello | nc -w 5 192.168.0.250 10099 >/dev/null")
        assert inner.stdout.readline() == b"b'hello\\n'\n"


def test_enter_gives_a_commands_exit_code(bridged: Cluster) -> None:
    assert bridged.xc("enter", "sh", "-c", "exit 7", ok=False).returncode == 7
    assert "xcbr0" in bridged.xc("enter", "ip", "-o", "link").stdout


def test_nodes_come_and_go(bridged: Cluster) -> None:
    bridged.xc("scaleout", "5")
    bridged.until(5, "ping -c1 -W2 192.168.1.1")
    assert {"xcbr0_t5", "xcbr1_t5"} <= set(links(bridged))
    port = next(node["ssh"] for node in bridged.status()["nodes"] if node["number"] == 5)
    bridged.xc("scalein", "5")
    assert not {"xcbr0_t5", "xcbr1_t5"} & set(links(bridged))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()


def test_a_fork_has_a_namespace_of_its_own(bridged: Cluster) -> None:
    fork = Cluster("t-bridge-b")
    bridged.rsh(1, "echo saved > /tmp/state")
    bridged.xc("checkpoint", "save", "t-bridge")
    try:
        bridged.xc("checkpoint", "restore", "t-bridge", "--as", fork.name)
        assert fork.rsh(1, "cat /tmp/state") == "saved\n"
        fork.until(1, "ping -c1 -W2 192.168.1.2")
        bridged.until(1, "ping -c1 -W2 192.168.1.2")
        assert {CHECKSUM, TSO4, HOST_TSO4} <= features(fork, 1, "eth1")
        fork.xc("enter", "ip", "link", "del", "xcbr1_t1")
        assert "xcbr1_t1" in links(bridged)
    finally:
        fork.xc("stop", ok=False)
        bridged.xc("checkpoint", "rm", "t-bridge")
    assert_nothing_left(fork.name)


def test_a_holder_that_is_killed_takes_all_with_it_and_start_replaces_it() -> None:
    cluster = Cluster("t-bridge-c")
    cluster.xc("starts", "--nvm=1", "--nrouters=0", "--net=bridge", "--nets-vm=0,7,42")
    assert {"xcbr0", "xcbr7", "xcbr42"} <= set(links(cluster))
    state = json.loads((cluster.directory / "net" / "place.json").read_text())
    os.kill(state["holder"]["pid"], signal.SIGKILL)
    eventually(lambda: not any("qemu" in command for command in processes_of(cluster.name)))
    assert "holder has died" in cluster.xc("status").stdout
    assert cluster.status()["nodes"][0]["state"] == "dead"
    for verb in (["rsh", "1", "true"], ["enter", "true"], ["scaleout", "2"]):
        done = cluster.xc(*verb, ok=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr
    cluster.xc("starts", "--nvm=1", "--nrouters=0", "--net=bridge")
    assert cluster.rsh(1, "hostname") == "vm-001\n"
    space = namespace(cluster)
    cluster.xc("stop")
    assert_nothing_left(cluster.name)
    assert processes_in(space) == []


def test_what_asks_for_bridges_where_there_are_none_is_refused() -> None:
    cluster = Cluster("t-bridge-d")
    no_tun = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net; exec "$@"', "sh"]
    if os.geteuid() != 0:
        no_tun[1:1] = ["--user", "--map-root-user"]
    words = [*no_tun, *cluster.command("starts", "--nvm=1", "--nrouters=0", "--net=bridge")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=cluster.environment)
    assert done.returncode == 1 and "there is no /dev/net/tun" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert_nothing_left(cluster.name)


@pytest.fixture
def numbered() -> Iterator[Cluster]:
    """A cluster's name, and a namespace made by root."""
    if os.geteuid() != 0:
        pytest.skip("only root makes named namespaces")
    cluster = Cluster("t-numbered")
    cluster.xc("nsadd", str(NUMBER))
    yield cluster
    subprocess.run(cluster.command("nsenter", str(NUMBER), "./xc", "stop", "--name=t-numbered"), cwd=ROOT)
    cluster.xc("nsdel", str(NUMBER))
    assert not {f"xcluster{NUMBER}"} & {name for _, name in socket.if_nameindex()}
    assert not list(Path("/run/netns").glob(f"*_xcluster{NUMBER}"))
    assert (
        f"xcluster{NUMBER}"
        not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    )


def test_a_cluster_in_a_numbered_namespace(numbered: Cluster) -> None:
    def there(*words: str, ok: bool = True) -> str:
        done = numbered.xc("nsenter", str(NUMBER), *words, ok=False)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "already" in numbered.xc("nsadd", str(NUMBER), ok=False).stderr
    own = ["--name=t-numbered"]
    there("./xc", "br_setup", *own, "--mtu=9000", "5")
    assert "192.168.5.250/24" in there("ip", "-4", "address", "show", "dev", "xcbr5")
    assert "mtu 9000" in there("ip", "link", "show", "dev", "xcbr5")
    there("ip", "link", "delete", "xcbr5")
    output = there("./xc", "starts", *own, "--nvm=1", "--nrouters=1")
    assert "net=bridge (in this namespace)" in output
    assert there("./xc", "rsh", *own, "1", "hostname").strip() == "vm-001"
    assert "ssh 192.168.0.1:22" in there("./xc", "status", *own)
    there("./xc", "rsh", *own, "1", "ping -c1 -W5 192.168.1.201")
    # Out of the namespace by NAT, to the host's end of the link; 201 has a bridge of its own on net 2.
    there("./xc", "rsh", *own, "1", "ip route replace default via 192.168.0.250; ping -c1 -W5 172.30.0.147")
    outside = numbered.xc("rsh", "1", "true", ok=False)
    assert outside.returncode == 1 and f"_xcluster{NUMBER}" in outside.stderr
    assert "processes run in" in numbered.xc("nsdel", str(NUMBER), ok=False).stderr
    busy = there("./xc", "starts", "--name=t-numbered-b", "--nvm=1", "--nrouters=0", ok=False)
    assert "another cluster in this namespace" in busy
    numbered.xc("stop")  # from outside, as root
    names = set(re.findall(r"xcbr\S+?(?=[:@])", there("ip", "-o", "link")))
    assert names == {"xcbr0", "xcbr1", "xcbr2"}
    assert_nothing_left("t-numbered")
    assert_nothing_left("t-numbered-b")


SETUP = """#!/bin/sh
# Taps with names of our own, on a bridge of our own.
set -e
tap=own$2_$1
ip link show dev xcbr$2 >/dev/null 2>&1 || ip link add xcbr$2 up type bridge
ip tuntap add dev $tap mode tap
ip link set dev $tap up master xcbr$2
echo "-netdev tap,id=net$2,ifname=$tap,script=no,downscript=no"
echo "-device virtio-net-pci,netdev=net$2,mac=$__mac"
"""


def test_a_users_program_makes_the_nics(tmp_path: Path) -> None:
    """In a namespace that it was started in; what the program made is gone afterwards."""
    script = tmp_path / "net-setup"
    script.write_text(SETUP)
    script.chmod(0o755)
    cluster = Cluster("t-custom")
    shell = f"""
    set -e
    ip link set dev lo up
    ip link add xcbr0 up type bridge
    ip address add 192.168.0.250/24 dev xcbr0
    ./xc starts --name=t-custom --nvm=2 --nrouters=0 --net-setup={script}
    ./xc rsh --name=t-custom 1 'ping -c1 -W5 192.168.1.2'
    ./xc checkpoint save --name=t-custom never 2>&1 | grep 'cannot be saved'
    ip -o link | grep -c own
    ./xc stop --name=t-custom
    ip -o link
    """
    words = [*host_support.fence(), "sh", "-c", shell]
    done = subprocess.run(words, cwd=ROOT, env=cluster.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "net=custom (net_setup is set)" in done.stderr
    assert "1 packets received" in done.stdout and "\n4\n" in done.stdout
    assert "own" not in done.stdout.partition("\n4\n")[2] and "xcbr1" not in done.stdout.partition("\n4\n")[2]
    assert_nothing_left(cluster.name)
    assert not (WORKSPACE / "checkpoint" / "never").exists()
