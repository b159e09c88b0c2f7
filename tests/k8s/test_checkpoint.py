"""A ready cluster, saved and started again: what it serves, and that it goes on as if nothing had been."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k8s.conftest import Kubernetes, started, walk_through

SAVED = "t-k8s-ready"


@pytest.fixture(scope="module")
def saved() -> Iterator[Kubernetes]:
    """A cluster that is saved while its pods run, and stopped."""
    cluster = Kubernetes("t-k8s-c")
    cluster.xc("checkpoint", "rm", SAVED, ok=False)
    try:
        for ready in started("t-k8s-c"):
            walk_through(ready, [1, 2])
            ready.xc("checkpoint", "save", SAVED)
        yield cluster
    finally:
        cluster.xc("stop", ok=False)
        cluster.xc("checkpoint", "rm", SAVED)


@pytest.mark.parametrize("time_over", [0, 60, 0])
def test_restored(saved: Kubernetes, time_over: float) -> None:
    """Clocks, leases, tokens and watches come over the gap; each time all of it works again."""
    time.sleep(time_over)
    began = time.monotonic()
    output = saved.xc("start", f"--from={SAVED}", "--wait=ready").stderr
    print(f"restored and ready after {time.monotonic() - began:.1f} s: {output}")
    now = int(saved.rsh(1, "date +%s"))
    assert abs(now - time.time()) < 5
    saved.connects(1, "mconnect.default.svc.xcluster:5001")
    saved.kubectl("delete -f /etc/kubernetes/mconnect.yaml -f /etc/kubernetes/alpine.yaml")
    walk_through(saved, [1, 2])
    leases = saved.json("get leases -n kube-node-lease")["items"]
    assert {each["metadata"]["name"] for each in leases} == {"vm-001", "vm-002"}
    token = saved.kubectl("create token default")  # signed now, and believed
    assert len(token.split(".")) == 3


def test_beside_itself(saved: Kubernetes, tmp_path: Path) -> None:
    """A second cluster of the same state: its API has a port of its own, and one more node can join."""
    saved.xc("start", f"--from={SAVED}", "--wait=ready")
    other = Kubernetes("t-k8s-d")
    try:
        other.xc("start", f"--from={SAVED}", "--wait=ready")
        ports = [
            json.loads((each.directory / "cluster.json").read_text())["ports"]["api"]
            for each in (saved, other)
        ]
        assert len(set(ports)) == 2
        saved.xc("stop")
        other.kubectl("delete -f /etc/kubernetes/mconnect.yaml -f /etc/kubernetes/alpine.yaml")
        other.xc("scaleout", "3", timeout=1200)
        walk_through(other, [1, 2, 3])
    finally:
        other.xc("stop")
