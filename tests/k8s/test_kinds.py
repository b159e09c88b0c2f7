"""Other kinds of clusters: families of addresses, modes of kube-proxy, kernels, nets of pods and of nodes."""

from collections.abc import Iterator

import pytest

from tests.k8s.conftest import Kubernetes, started, walk_through

KINDS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "ipv6": ((), {"SETUP": "ipv6"}),
    "ipv4": ((), {"SETUP": "ipv4"}),
    "ipvs": (("--k8s-proxy-mode=ipvs",), {}),
    "kernel": (("--kernel=linux-6.1",), {}),
    "nftables": ((), {"K8S_PROXY_MODE": "nftables"}),
    "ptp": ((), {}),
    "userspace": (("--net=userspace",), {}),
}
OVERLAYS = {"ptp": ("env", "network-topology", "k8s-cni-ptp")}
SIGNS = {  # commands that show how services are led to pods
    "iptables": "iptables-save -t nat | grep -q KUBE-SVC",
    "ipvs": "grep -q '^TCP.*rr' /proc/net/ip_vs",
    "nftables": "nft list table ip kube-proxy | grep -q service",
}


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> Iterator[tuple[str, Kubernetes]]:
    """A ready cluster of each kind, one after the other."""
    words, env = KINDS[request.param]
    overlays = OVERLAYS.get(request.param, ())
    for cluster in started(f"t-k8s-{request.param}", *words, env=env, overlays=overlays):
        yield request.param, cluster


def test_walk_through(kind: tuple[str, Kubernetes]) -> None:
    name, cluster = kind
    walk_through(cluster, [1, 2], name if name.startswith("ipv") and name != "ipvs" else "dual")


def test_it_is_what_was_asked_for(kind: tuple[str, Kubernetes]) -> None:
    name, cluster = kind
    mode = name if name in SIGNS else "iptables"
    if name != "ipv6":
        cluster.rsh(2, SIGNS[mode])
    assert ("-cloud-amd64" in cluster.rsh(2, "uname -r")) == (name != "kernel")
    bridged = bool(cluster.rsh(2, "cd /sys/class/net; ls -d cbr0/brif/* 2>/dev/null; true"))
    assert bridged == (name != "ptp"), "pods are on the bridge"
    families = {each for pod in cluster.pods("mconnect") for each in map(_family, pod["status"]["podIPs"])}
    assert families == ({name} if name in ("ipv4", "ipv6") else {"ipv4", "ipv6"})


def _family(address: dict[str, str]) -> str:
    return "ipv6" if ":" in address["ip"] else "ipv4"
