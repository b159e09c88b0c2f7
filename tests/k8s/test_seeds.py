"""What xcluster's documents type for Kubernetes, at a terminal, as it stands there."""

import time
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.boot.conftest import ROOT, assert_nothing_left
from tests.k8s.conftest import LONG, PATIENCE, Kubernetes
from tests.seeds.kubernetes_lines import (
    CERTIFIED,
    IN_A_POD,
    IPV6_NODE,
    IPV6_ROUTER,
    IPV6_START,
    LOOK,
    PODS,
    STARTED,
)
from tests.seeds.line import Line
from tests.seeds.shell import Shell, settled

NAME = "t-k8s-seeds"
NODE, ROUTER = "4", "201"  # at which lines are typed


def typed(
    shell: Shell, where: str, lines: Sequence[Line], values: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Type lines on a node, `values` first, until each has done what its row says; what each has printed."""
    shell.send(f"vm {where}\n")
    try:
        for name, value in (values or {}).items():
            shell.typed(f"{name}={value}")
        return {line.text: patiently(shell, line) for line in lines}
    finally:
        shell.typed("exit")


def patiently(shell: Shell, line: Line) -> str:
    """Type a line again and again until it does what its row says: Kubernetes takes its time."""
    end = time.monotonic() + PATIENCE
    while True:
        status, output = shell.typed(line.typed, LONG)
        fault = line.fault(status, output)
        if not fault:
            return output
        assert time.monotonic() < end, fault
        time.sleep(2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kubernetes]:
    cluster = Kubernetes(NAME)
    try:
        yield cluster
    finally:
        cluster.xc("stop")
        cluster.xc("mkcdrom")
    assert_nothing_left(NAME)


@pytest.fixture(scope="module")
def shell(cluster: Kubernetes) -> Iterator[Shell]:
    """A terminal at which both files of settings have been sourced."""
    with Shell(ROOT, {**cluster.environment, "__name": NAME}) as shell:
        settled(shell)
        settled(shell, "Envsettings.k8s")
        yield shell


def test_a_walk(cluster: Kubernetes, shell: Shell) -> None:
    """`start` comes back when the nodes answer; Kubernetes comes up while the lines are typed."""
    for line in STARTED:
        shell.answers(line, LONG)
    typed(shell, NODE, [*LOOK, *PODS])
    pod = cluster.pods("alpine")[0]["metadata"]["name"]
    for line in IN_A_POD:
        shell.send(f"vm {NODE}\n")
        try:
            shell.typed(f"POD={pod}")
            shell.send(f"{line.typed}\n")
            assert pod in shell.typed("hostname")[1]
            assert (
                "kubernetes.default.svc.xcluster"
                in shell.typed("nslookup kubernetes.default.svc.xcluster")[1]
            )
            shell.typed("exit")
        finally:
            shell.typed("exit")


def test_metrics_of_all(cluster: Kubernetes) -> None:
    """Of nodes and pods, over TLS by the cluster's own authority."""
    nodes = cluster.kubectl("top nodes --no-headers").splitlines()
    assert {line.split()[0] for line in nodes} == {f"vm-00{number}" for number in (1, 2, 3, 4)}
    assert "coredns-" in cluster.kubectl("top pods -n kube-system --no-headers")
    service = cluster.json("get apiservice v1beta1.metrics.k8s.io")
    assert service["spec"]["caBundle"] and not service["spec"].get("insecureSkipTLSVerify")
    assert [each["status"] for each in service["status"]["conditions"]] == ["True"]


def test_certificates_of_a_running_cluster_stay(shell: Shell) -> None:
    (line,) = CERTIFIED
    shell.typed("pushd ovl/kubernetes")
    status, output = shell.typed(line.typed)
    shell.typed("popd")
    assert status == 1 and "is running" in output


def test_ipv6_only(shell: Shell) -> None:
    for line in IPV6_START:
        assert "failed in the guest" not in shell.answers(line, LONG)
    typed(shell, "1", IPV6_NODE)
    for line in IPV6_ROUTER:
        shell.send(f"vm {ROUTER}\n")
        try:
            patiently(shell, line)
        finally:
            shell.typed("exit")
