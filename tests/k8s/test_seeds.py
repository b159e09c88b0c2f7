"""What xcluster's documents type for Kubernetes, at a terminal, as it stands there."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence

import pytest
import requests

from tests.boot.conftest import ROOT, assert_nothing_left
from tests.containers import workspace_registry
from tests.k8s.conftest import LONG, PATIENCE, Kubernetes
from tests.seeds.kubernetes_lines import (
    CERTIFIED,
    IN_A_POD,
    IPV6_NODE,
    IPV6_ROUTER,
    IPV6_START,
    LOOK,
    NAMED_BY,
    PODS,
    STARTED,
)
from tests.seeds.line import Line
from tests.seeds.shell import Shell, settled

NAME = "t-k8s-seeds"
COMING_UP = 900.0  # seconds, as `xc k8s` waits: the lines are typed while Kubernetes comes up
NODE, ROUTER = "2", "201"  # at which lines are typed
# Smaller than the documents' cluster, by variables as a user would set them.
SMALL = {"__name": NAME, "__nvm": "2", "__nrouters": "1"}


def typed(
    shell: Shell, where: str, lines: Sequence[Line], values: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Type lines on a node, `values` first, until each has done what its row says; what each has printed."""
    shell.moved(f"vm {where}")
    try:
        for name, value in (values or {}).items():
            shell.typed(f"{name}={value}")
        return {line.text: patiently(shell, line) for line in lines}
    finally:
        shell.moved("exit")


def patiently(shell: Shell, line: Line) -> str:
    """Type a line again and again until it does what its row says: Kubernetes takes its time."""
    end = time.monotonic() + COMING_UP
    while True:
        status, output = shell.typed(line.typed, LONG)
        fault = line.fault(status, output)
        if not fault:
            return output
        assert time.monotonic() < end, fault
        time.sleep(2)


@pytest.fixture(autouse=True)
def stopped() -> None:
    """What a line has started is for the next ones: the one of that name stops it after each test."""


@pytest.fixture(scope="module", params=["container", "vm"])
def kind(request: pytest.FixtureRequest) -> str:
    """What nodes are; containers are root's, as they need cgroups of their own."""
    if request.param == "container" and os.geteuid() != 0:
        pytest.skip("cgroups are root's to give")
    return str(request.param)


@pytest.fixture(scope="module")
def cluster(kind: str) -> Iterator[Kubernetes]:
    cluster = Kubernetes(NAME, {"__node": kind})
    try:
        yield cluster
    finally:
        cluster.xc("stop")
        cluster.xc("mkcdrom")
    assert_nothing_left(NAME)


@pytest.fixture
def shell(cluster: Kubernetes) -> Iterator[Shell]:
    """A terminal at which both files of settings have been sourced."""
    with Shell(ROOT, {**cluster.environment, **SMALL}) as shell:
        settled(shell)
        settled(shell, "Envsettings.k8s")
        yield shell


def test_a_walk(cluster: Kubernetes, shell: Shell) -> None:
    """`start` comes back when the nodes answer; Kubernetes comes up while the lines are typed."""
    for line in STARTED:
        shell.answers(line, LONG)
    typed(shell, NODE, [*LOOK, *PODS, *(line for line in NAMED_BY if line.where == "node")])
    pod = cluster.pods("alpine")[0]["metadata"]["name"]
    for line in IN_A_POD:
        shell.moved(f"vm {NODE}")
        try:
            shell.typed(f"POD={pod}")
            shell.moved(line.typed)
            assert pod in shell.typed("hostname")[1]
            for name in NAMED_BY:
                if name.where == "pod":
                    patiently(shell, name)
            shell.moved("exit")
        finally:
            shell.moved("exit")


def test_metrics_of_all(cluster: Kubernetes) -> None:
    """Of nodes and pods, over TLS by the cluster's own authority."""
    nodes = cluster.kubectl("top nodes --no-headers").splitlines()
    assert {line.split()[0] for line in nodes} == {"vm-001", "vm-002"}
    cluster.until(1, "kubectl top pods -n kube-system --no-headers | grep ^coredns-", PATIENCE)
    service = cluster.json("get apiservice v1beta1.metrics.k8s.io")
    assert service["spec"]["caBundle"] and not service["spec"].get("insecureSkipTLSVerify")
    assert [each["status"] for each in service["status"]["conditions"]] == ["True"]


def test_certificates_of_a_running_cluster_stay(shell: Shell) -> None:
    (line,) = CERTIFIED
    shell.typed("pushd ovl/kubernetes")
    status, output = shell.typed(line.typed)
    shell.typed("popd")
    assert status == 1 and "is running" in output


@pytest.fixture
def internet() -> Iterator[str]:
    """The private registry, with an image that has the name of one of the internet; the port."""
    with workspace_registry(Kubernetes(NAME)) as port:
        Kubernetes(NAME).xc("registry", "cache", "localhost/alpine:1")
        own, name = f"http://127.0.0.1:{port}/v2/localhost/alpine", "docker.io/library/alpine"
        there = f"http://127.0.0.1:{port}/v2/{name}"
        kind = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        manifest = requests.get(f"{own}/manifests/1", headers=kind, timeout=30)
        facts = manifest.json()
        for blob in (facts["config"], *facts["layers"]):
            mounted = {"mount": blob["digest"], "from": "localhost/alpine"}
            assert requests.post(f"{there}/blobs/uploads/", params=mounted, timeout=30).status_code == 201
        headers = {"Content-Type": manifest.headers["Content-Type"]}
        put = requests.put(f"{there}/manifests/latest", data=manifest.content, headers=headers, timeout=30)
        assert put.status_code == 201
        yield str(port)
        Kubernetes(NAME).xc("registry", "rm", f"{name}:latest", "localhost/alpine:1", ok=False)


def test_ipv6_only(cluster: Kubernetes, shell: Shell, internet: str) -> None:
    """With what stands for the internet: an image that no node has is pulled."""
    shell.typed(f"export XOVLS=private-reg xcluster_REGISTRY_PORT={internet}")
    for line in IPV6_START:
        assert "failed in the guest" not in shell.answers(line, LONG)
    typed(shell, "1", IPV6_NODE)
    for line in IPV6_ROUTER:
        shell.moved(f"vm {ROUTER}")
        try:
            patiently(shell, line)
        finally:
            shell.moved("exit")
    pulled = "docker.io/library/alpine:latest"
    assert pulled not in cluster.rsh(2, "images")
    there = json.dumps({"spec": {"nodeName": "vm-002"}})
    cluster.kubectl(f"run pulled --image={pulled} --overrides='{there}' -- tail -f /dev/null")
    cluster.kubectl(f"wait --for condition=Ready pod/pulled --timeout={PATIENCE:.0f}s")
    assert pulled in cluster.rsh(2, "images")
