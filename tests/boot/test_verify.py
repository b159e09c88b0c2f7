"""xc verify: what holds is said to hold, and what does not is found."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.boot.conftest import WORKSPACE, Cluster, assert_nothing_left

pytestmark = pytest.mark.boot
FEW = ("--nvm=1", "--nrouters=1", "--ntesters=1")


def test_a_topology_that_holds_what_it_promises(tmp_path: Path) -> None:
    cluster, junit = Cluster("t-verify"), tmp_path / "junit.xml"
    ran = cluster.xc("verify", *FEW, "--net=bridge", "-o", "json", f"--junit={junit}")
    checks = json.loads(ran.stdout)
    outcomes = {each["name"]: each["outcome"] for each in checks}
    assert set(outcomes.values()) == {"ok"}
    for name in (
        "vm-001 to fd00::192.168.2.221, 1500 bytes",
        "vm-001 to name vm-201",
        "vm-221 to ssh 192.168.1.1",
        "vm-001 to a server outside, translated by a router",
        "a login from vm-221 to vm-001 at 192.168.1.1",
        "scaleout 2",
        "vm-002 to 192.168.2.221, 1500 bytes",
        "nothing is left",
    ):
        assert name in outcomes
    assert len(list(ElementTree.parse(junit).getroot()[0])) == len(checks)
    assert_nothing_left("t-verify")


def test_what_does_not_hold_is_found() -> None:
    """Without the overlay that sets up nets, nobody has an address beyond net 0."""
    ran = Cluster("t-verify").xc("verify", *FEW, "--ovls=env", "--net=userspace", ok=False)
    assert ran.returncode == 1
    assert "xnet: vm-001 to 192.168.2.221, 1500 bytes: no answer" in ran.stderr
    assert "of" in ran.stderr and "checks failed" in ran.stderr and "hint: logs:" in ran.stderr
    kept = WORKSPACE / "log" / "verify" / "xnet-vm-001.console.log"
    assert "vm-001" in kept.read_text(errors="replace")
    assert_nothing_left("t-verify")


def test_a_start_that_fails_is_a_finding() -> None:
    ran = Cluster("t-verify").xc("verify", *FEW, "--mem=72", "--mem1=73", "--timeout=1", "--cold", ok=False)
    assert ran.returncode == 1
    assert "xnet: start: " in ran.stderr and "did not come up" in ran.stderr
    assert_nothing_left("t-verify")
