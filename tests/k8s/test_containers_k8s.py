"""Kubernetes on nodes that are containers: the walk-through, what befalls nodes, what is left of cgroups."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k8s.conftest import PATIENCE, Kubernetes, eventually, started, walk_through

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="cgroups are root's to give")
OTHERS: dict[str, tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]] = {
    "ipv6": ((), {"SETUP": "ipv6"}, ()),
    "ipv4": ((), {"SETUP": "ipv4"}, ()),
    "kubeadm": (("--mem=1280", "--mem1=1280"), {}, ("env", "network-topology", "kubeadm")),
    "nftables": (("--k8s-proxy-mode=nftables",), {}, ()),
    "ptp": ((), {}, ("env", "network-topology", "k8s-cni-ptp")),
}


def cgroups_of_nodes() -> set[Path]:
    """The directories of cgroups that nodes have."""
    return {path for path in Path("/sys/fs/cgroup").rglob("xcluster-vm-*") if path.is_dir()}


def settings_of_host() -> dict[str, str]:
    """What kubelet and kube-proxy change where they may."""
    names = (
        "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
        "kernel/keys/root_maxkeys", "net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet",
        "net/netfilter/nf_conntrack_max",
    )  # fmt: skip
    return {name: path.read_text() for name in names if (path := Path("/proc/sys", name)).exists()}


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_other_kinds(name: str) -> None:
    words, env, overlays = OTHERS[name]
    for cluster in started(f"t-k8s-con-{name}", "--node=container", *words, env=env, overlays=overlays):
        walk_through(cluster, [1, 2], name if name.startswith("ipv") else "dual")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kubernetes]:
    before, settings = cgroups_of_nodes(), settings_of_host()
    yield from started("t-k8s-con", "--node=container")
    assert cgroups_of_nodes() == before and settings_of_host() == settings


def test_walk_through(cluster: Kubernetes) -> None:
    walk_through(cluster, [1, 2])


def test_pods_have_limits(cluster: Kubernetes) -> None:
    """Of the cgroups that kubelet makes in those of its node."""
    cluster.kubectl("set resources deployment/alpine-deployment --limits=memory=64Mi,cpu=500m")
    cluster.kubectl(f"rollout status deployment/alpine-deployment --timeout={PATIENCE:.0f}s")
    pod = cluster.pods("alpine")[0]["metadata"]["name"]
    limits = cluster.kubectl(
        f"exec {pod} -- sh -c 'cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes'", ok=False
    )
    assert limits.split() == ["67108864"]


def test_a_node_sees_its_own_cgroups_alone(cluster: Kubernetes) -> None:
    assert "xcluster-vm" not in cluster.rsh(2, "find /sys/fs/cgroup -name 'xcluster*'")
    assert "/.." not in cluster.rsh(2, "cat /proc/1/cgroup")


def test_a_node_more(cluster: Kubernetes) -> None:
    cluster.xc("scaleout", "3")
    eventually(lambda: cluster.ready().get("vm-003", False))
    cluster.kubectl("delete -f /etc/kubernetes/mconnect.yaml -f /etc/kubernetes/alpine.yaml")
    walk_through(cluster, [1, 2, 3])


def test_a_node_reboots(cluster: Kubernetes) -> None:
    cluster.rsh(2, "touch /run/before; (sleep 1; reboot) > /dev/null 2>&1 &")
    eventually(lambda: "no" in cluster.xc("rsh", "2", "[ -e /run/before ] || echo no", ok=False).stdout)
    walk_through(cluster, [1, 2, 3])


def test_a_node_is_killed(cluster: Kubernetes) -> None:
    """Its cgroups go when it is stopped; scaleout brings a new one of the same name."""
    before = cgroups_of_nodes()
    (pid,) = [node["pid"] for node in cluster.status()["nodes"] if node["name"] == "vm-002"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not cluster.ready()["vm-002"])
    cluster.xc("scalein", "2")
    assert not any("vm-002" in path.name for path in before & cgroups_of_nodes())
    cluster.xc("scaleout", "2")
    eventually(lambda: cluster.ready()["vm-002"], PATIENCE)
    cluster.kubectl("delete -f /etc/kubernetes/mconnect.yaml -f /etc/kubernetes/alpine.yaml")
    walk_through(cluster, [1, 2, 3])
