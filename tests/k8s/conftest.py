"""Clusters with Kubernetes, and what one asks them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import tests.conftest
from tests.boot.conftest import Cluster, assert_nothing_left, stopped
from tests.conftest import is_left_out, take_long

__all__ = ["stopped"]  # a fixture for every test here

HERE = Path(__file__).parent
PATIENCE = 240.0  # seconds for what Kubernetes does by itself on emulated nodes
LONG = 3000  # seconds a test may take, with the start of its cluster
NAME = "mconnect.default.svc.xcluster"
ADDRESSES = {"ipv4": "10.0.0.2:5001", "ipv6": "[1000::2]:5001"}  # the external ones in mconnect.yaml
FAMILIES = {"dual": ("ipv4", "ipv6"), "ipv4": ("ipv4",), "ipv6": ("ipv6",)}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """These are for a run that names them."""
    return is_left_out(collection_path, HERE, config)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """All of these boot virtual machines, and take their time."""
    take_long(items, HERE, LONG)


class Kubernetes(Cluster):
    """A cluster with Kubernetes in it."""

    def kubectl(self, words: str, ok: bool = True) -> str:
        """What kubectl on vm-001 prints."""
        return self.xc("rsh", "1", f"kubectl {words}", ok=ok).stdout

    def json(self, words: str) -> Any:
        """What kubectl knows, as values."""
        return json.loads(self.kubectl(f"{words} -o json"))

    def pods(self, app: str) -> list[Any]:
        """The pods of an app that shall run."""
        items: list[Any] = self.json(f"get pods -l app={app}")["items"]
        return [pod for pod in items if not pod["metadata"].get("deletionTimestamp")]

    def ready(self) -> dict[str, bool]:
        """The nodes by name, and whether they are Ready."""
        return {
            node["metadata"]["name"]: any(
                each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"]
            )
            for node in self.json("get nodes")["items"]
        }

    def connects(self, number: int, address: str, count: int = 100) -> dict[str, int]:
        """How often each host has answered connections from a node; all of them have to be answered."""
        output = self.until(
            number, f"mconnect -address {address} -nconn {count} -timeout 60s -output json", PATIENCE
        )
        hosts: dict[str, int] = json.loads(output)["hosts"]
        assert sum(hosts.values()) == count
        return hosts


def eventually(what: Any, seconds: float = PATIENCE) -> None:
    """`what` has to come true; it is asked once a second, as asking costs emulated nodes much."""
    tests.conftest.eventually(what, seconds, pause=1)


def started(
    name: str, *words: str, env: Mapping[str, str] | None = None, overlays: Sequence[str] = ()
) -> Iterator[Kubernetes]:
    """A ready cluster for a fixture: two nodes and two routers, unless words say more."""
    cluster = Kubernetes(name, env or {})
    cluster.xc("mkcdrom", *overlays)
    try:
        output = cluster.xc("k8s", "--nvm=2", *words, timeout=LONG).stderr
        assert "failed in the guest" not in output
        assert "Kubernetes is ready" in output
        yield cluster
    finally:
        cluster.xc("stop")
        cluster.xc("mkcdrom")
    assert_nothing_left(name)


def walk_through(cluster: Kubernetes, nodes: Sequence[int], family: str = "dual") -> None:
    """What the documents that this project comes from do with a cluster, on each of its nodes."""
    names = {f"vm-{number:03d}" for number in nodes}
    eventually(lambda: cluster.ready() == dict.fromkeys(names, True))
    cluster.kubectl("apply -f /etc/kubernetes/alpine.yaml -f /etc/kubernetes/mconnect.yaml")
    for app in ("alpine", "mconnect"):
        cluster.kubectl(f"rollout status deployment/{app}-deployment --timeout={PATIENCE:.0f}s")
    servers = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in cluster.pods("mconnect")}
    assert set(servers.values()) == names, "there are servers on every node"
    for number in nodes:
        assert "kubernetes.default.svc.xcluster" in cluster.until(
            number, "nslookup kubernetes.default.svc.xcluster", PATIENCE
        )
        answered = cluster.connects(number, f"{NAME}:5001")
        assert set(answered) == set(servers), "by name, and all of them get some"
    for address in cluster.json("get service mconnect")["spec"]["clusterIPs"]:
        host = f"[{address}]" if ":" in address else address
        assert set(cluster.connects(nodes[0], f"{host}:5001")) == set(servers)
    for each in FAMILIES[family]:
        assert set(cluster.connects(201, ADDRESSES[each])) == set(servers), "from outside, over ECMP"
    for pod in cluster.pods("alpine")[:2]:
        where = f"exec {pod['metadata']['name']} --"
        assert "kubernetes.default.svc.xcluster" in cluster.kubectl(
            f"{where} nslookup kubernetes.default.svc.xcluster"
        )
        assert pod["metadata"]["name"] in cluster.kubectl(f"{where} hostname")
