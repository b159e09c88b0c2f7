"""flannel, MetalLB and multi-network in one cluster: VXLAN, load balancers, second interfaces of pods."""

import ipaddress
from collections.abc import Iterator

import pytest

from tests.k8s.conftest import PATIENCE, Kubernetes, eventually, started, walk_through

OVERLAYS = ("env", "network-topology", "k8s-cni-flannel", "metallb", "frr", "multi-network")
RANGES = {1: ("11.0.1.", "fd00:1100::1:"), 2: ("11.0.2.", "fd00:1100::2:")}
DEVICES = ("flannel.1", "flannel-v6.1")
POOL = {"192.168.1.": range(230, 240), "fd00::c0a8:1": range(0xE6, 0xF0)}
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kubernetes]:
    """Two nodes, a router with FRR, and a tester behind it."""
    words = ("--nrouters=1", "--ntesters=1", "--mem=1024", "--mem1=1024")
    yield from started("t-k8s-networks", *words, env={"SETUP": "bgp"}, overlays=OVERLAYS)


@pytest.fixture(scope="module")
def served(cluster: Kubernetes) -> Kubernetes:
    """The cluster, with services that MetalLB has to serve."""
    cluster.kubectl("apply -f /etc/kubernetes/mconnect.yaml -f /etc/kubernetes/metallb")
    cluster.kubectl(f"rollout status deployment/mconnect-deployment --timeout={PATIENCE:.0f}s")
    for workload in ("deployment/controller", "daemonset/speaker"):
        cluster.kubectl(f"-n metallb-system rollout status {workload} --timeout={PATIENCE:.0f}s")
    return cluster


def test_walk_through(cluster: Kubernetes) -> None:
    walk_through(cluster, [1, 2])


def test_pods_have_addresses_of_their_nodes(cluster: Kubernetes) -> None:
    for pod in cluster.pods("mconnect"):
        ranges = RANGES[int(pod["spec"]["nodeName"][-3:])]
        found = [each["ip"] for each in pod["status"]["podIPs"]]
        assert len(found) == 2
        for address, start in zip(found, ranges, strict=True):
            assert address.startswith(start)


@pytest.mark.parametrize("family", [0, 1])
def test_pods_of_two_nodes_reach_each_other_in_vxlan(cluster: Kubernetes, family: int) -> None:
    """The packets are counted by flannel's device, and are in VXLAN on net 1."""
    there = next(pod for pod in cluster.pods("mconnect") if pod["spec"]["nodeName"] == "vm-002")
    here = next(pod for pod in cluster.pods("alpine") if pod["spec"]["nodeName"] == "vm-001")
    address = there["status"]["podIPs"][family]["ip"]
    assert DEVICES[family] in cluster.rsh(1, f"ip route get {address}")
    counter = f"cat /sys/class/net/{DEVICES[family]}/statistics/tx_packets"
    before = int(cluster.rsh(1, counter))
    capture = "timeout 60 tcpdump -i eth1 -c 2 -nn udp port 8472 > /tmp/vxlan 2> /tmp/vxlan.err"
    cluster.rsh(
        2, f"rm -f /tmp/vxlan*; {capture} & until grep -qs listening /tmp/vxlan.err; do usleep 50000; done"
    )
    done = cluster.kubectl(f"exec {here['metadata']['name']} -- ping -c3 -W5 {address}")
    assert " 0% packet loss" in done
    assert int(cluster.rsh(1, counter)) >= before + 3
    assert "OTV" in cluster.until(2, '[ "$(wc -l < /tmp/vxlan)" -ge 2 ] && cat /tmp/vxlan', PATIENCE)


def ingress(cluster: Kubernetes, service: str) -> list[str]:
    """The addresses that the controller has given to a service."""
    status = cluster.json(f"get service {service}")["status"]["loadBalancer"]
    return [each["ip"] for each in status.get("ingress") or []]


def announcer(cluster: Kubernetes, address: str) -> int:
    """The node whose interface on net 1 answers the router for an address; 0 if none does."""
    cluster.rsh(201, f"ip neigh del {address} dev eth1 2>/dev/null; ping -c1 -W3 {address} >/dev/null; true")
    words = cluster.rsh(201, f"ip neigh show {address} dev eth1").split()
    mac = words[words.index("lladdr") + 1] if "lladdr" in words else ""
    macs = {cluster.rsh(number, "cat /sys/class/net/eth1/address").strip(): number for number in (1, 2)}
    return macs.get(mac, 0)


def test_addresses_of_both_families_come_from_the_pool(served: Kubernetes) -> None:
    eventually(lambda: len(ingress(served, "mconnect-l2")) == 2)
    for text in ingress(served, "mconnect-l2"):
        (numbers,) = [numbers for start, numbers in POOL.items() if text.startswith(start)]
        assert int(ipaddress.ip_address(text)) & 0xFF in numbers


@pytest.mark.parametrize("number", [201, 221])
def test_pods_are_reached_from_outside(served: Kubernetes, number: int) -> None:
    """From the router on the same net, and from a tester behind it."""
    servers = {pod["metadata"]["name"] for pod in served.pods("mconnect")}
    eventually(lambda: len(ingress(served, "mconnect-l2")) == 2)
    for text in ingress(served, "mconnect-l2"):
        host = f"[{text}]" if ":" in text else text
        assert set(served.connects(number, f"{host}:5001")) == servers


def test_another_node_announces_when_one_may_not(served: Kubernetes) -> None:
    address = next(text for text in ingress(served, "mconnect-l2") if ":" not in text)
    first = announcer(served, address)
    assert first in (1, 2)
    served.kubectl(f"label node vm-{first:03d} {EXCLUDED}=yes")
    try:
        eventually(lambda: announcer(served, address) == 3 - first)
        served.connects(221, f"{address}:5001")
    finally:
        served.kubectl(f"label node vm-{first:03d} {EXCLUDED}-")


def test_a_router_learns_an_address_by_bgp(served: Kubernetes) -> None:
    eventually(lambda: len(ingress(served, "mconnect-bgp")) == 1)
    (address,) = ingress(served, "mconnect-bgp")
    assert ipaddress.ip_address(address) in ipaddress.ip_network("10.8.0.0/24")
    route = served.until(201, f"ip route show {address} proto bgp | grep .", PATIENCE)
    assert "192.168.1." in route
    servers = {pod["metadata"]["name"] for pod in served.pods("mconnect")}
    assert set(served.connects(201, f"{address}:5001")) == servers
    served.kubectl("delete service mconnect-bgp")
    served.until(201, f"! ip route show {address} proto bgp | grep .", PATIENCE)


def test_a_second_interface_of_a_pod(cluster: Kubernetes) -> None:
    """A macvlan of net 1, across nodes, in both families; and the default network is as ever."""
    cluster.kubectl("apply -f /etc/kubernetes/multi-network/lan.yaml")
    cluster.kubectl(f"wait --for=condition=Ready pod/lan-1 pod/lan-2 --timeout={PATIENCE:.0f}s")
    for address in ("10.11.0.2", "fd00:1011::2"):
        assert "bytes from" in cluster.until(1, f"kubectl exec lan-1 -- ping -c1 -W5 {address}", PATIENCE)
    assert "net1" in cluster.kubectl("exec lan-1 -- ip address show to 10.11.0.1")
    addresses = [each["ip"] for each in cluster.json("get pod lan-1")["status"]["podIPs"]]
    assert addresses[0].startswith(RANGES[1][0]), "Kubernetes knows the address in the default network"
    assert "kubernetes" in cluster.kubectl("exec lan-1 -- nslookup kubernetes.default.svc.xcluster")
    cluster.kubectl("delete -f /etc/kubernetes/multi-network/lan.yaml --timeout=120s")
    assert cluster.rsh(1, "ls /run/cni/multi-network/*.json | wc -l").strip() != "", "other pods go on"


def test_a_network_that_is_not_there(cluster: Kubernetes) -> None:
    """The pod's events say which; with the network it starts."""
    image = "--image=localhost/alpine:1 --image-pull-policy=Never"
    run = f"run lost {image} --annotations=k8s.v1.cni.cncf.io/networks=no"
    cluster.kubectl(f"{run} -- sleep 1000")
    eventually(
        lambda: (
            "network-attachment-definitions/no: the API answered 404" in cluster.kubectl("describe pod lost")
        )
    )
    cluster.kubectl("delete pod lost --grace-period=0 --force")
