"""kubeadm: `kubeadm init` on vm-001 and `kubeadm join` on the others; the cluster serves as any does."""

from collections.abc import Iterator

import pytest

from tests.k8s.conftest import LONG, Kubernetes, eventually, started, walk_through

CONTROL = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kubernetes]:
    yield from started(
        "t-k8s-kubeadm",
        "--nrouters=1",
        "--mem=1280",
        "--mem1=1280",
        overlays=("env", "network-topology", "kubeadm"),
    )


def test_walk_through(cluster: Kubernetes) -> None:
    walk_through(cluster, [1, 2])


def test_the_control_plane_is_pods(cluster: Kubernetes) -> None:
    pods = {pod["metadata"]["name"]: pod for pod in cluster.json("-n kube-system get pods")["items"]}
    for name in CONTROL:
        pod = pods[f"{name}-vm-001"]
        assert pod["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
        assert pod["spec"]["containers"][0]["image"].startswith(f"localhost/{name}:v1.")
    assert sum(name.startswith("kube-proxy-") for name in pods) == 2
    assert "kube-apiserver" not in cluster.rsh(1, "ls /var/log/*.log"), "none is started beside them"


def test_nodes_have_joined_by_a_token(cluster: Kubernetes) -> None:
    """What vm-002 is known by was signed when it joined; it has no key of others."""
    assert "kubeadm-config" in cluster.kubectl("-n kube-system get configmaps -o name")
    assert "This node has joined the cluster" in cluster.rsh(2, "cat /var/log/kubeadm.log")
    assert cluster.rsh(2, "ls /etc/kubernetes/pki").split() == ["ca.crt"]
    assert cluster.rsh(2, "ls /etc/kubernetes/nodes").split() == ["vm-002.crt", "vm-002.key"]
    requests = cluster.json("get certificatesigningrequests")["items"]
    users = {each["spec"]["username"] for each in requests}
    assert any(user.startswith("system:bootstrap:") for user in users)


def test_a_node_more_joins(cluster: Kubernetes) -> None:
    cluster.xc("scaleout", "3", timeout=LONG)
    eventually(lambda: cluster.ready().get("vm-003", False))
    assert "This node has joined the cluster" in cluster.rsh(3, "cat /var/log/kubeadm.log")
