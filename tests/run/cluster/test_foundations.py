"""Which tasks build what the nodes of a start are made from."""

from typing import Any

import pytest

from tasks.run.cluster import outlook
from tests.conftest import Checkout


@pytest.mark.parametrize(
    ("settings", "built", "spared"),
    [
        ("", {"kernel:debian", "image:base", "golden"}, {"rootfs:base"}),
        ("node: container", {"rootfs:base"}, {"kernel:debian", "image:base", "golden"}),
        ("node3: container", {"rootfs:base", "kernel:debian", "golden"}, set()),
        ("{node: container, node3: vm}", {"rootfs:base", "kernel:debian", "golden"}, set()),
        ("{node: container, nvm: 1, node3: vm}", {"rootfs:base"}, {"kernel:debian", "golden"}),
    ],
)
def test_what_a_start_builds(checkout: Checkout, settings: str, built: set[str], spared: set[str]) -> None:
    checkout.write("xcluster.yaml", f"{settings}\n")
    done = checkout.xc("info", "start")
    tasks = {line.strip(" -") for line in done.out.splitlines()}
    assert built <= tasks, done.out + done.err
    assert not spared & tasks


def test_a_dry_run_tells_the_kinds() -> None:
    nodes = [{"name": f"vm-00{number}", "mem": 128, "smp": 1, "nets": [0]} for number in (1, 2)]
    facts: dict[str, Any] = {
        "cluster": "c", "runs": [], "kernel": "debian", "image": "base",
        "net": {"backend": "bridge", "why": "w"}, "nodes": nodes,
        "ports": {"ssh": 1, "telnet": None, "api": None}, "moved": [], "clones": [],
        "containers": ["vm-002"],
    }  # fmt: skip
    told = list(outlook.lines(facts))
    assert "  vm-001: 128 MiB, 1 processor, nets 0, booted" in told
    assert "  vm-002: 128 MiB, 1 processor, nets 0, a container" in told and "kernel: debian" in told
    told = list(outlook.lines({**facts, "containers": ["vm-001", "vm-002"]}))
    assert not [line for line in told if "kernel" in line or "booted" in line]
