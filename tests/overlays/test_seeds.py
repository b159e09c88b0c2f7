"""What xcluster's documents type for clusters without Kubernetes, at a terminal, as it stands there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, Cluster, assert_nothing_left
from tests.seeds.cluster_lines import CUSTOM, ENDS, OPTIONS, RANDOMNESS, STARTS, TERMINALS
from tests.seeds.line import Line
from tests.seeds.shell import Shell, settled

NAME = "t-seeds"
# Smaller than the documents' clusters, by variables as a user would set them.
SMALL = {"__name": NAME, "__nvm": "2", "__nrouters": "1"}
START = 600  # seconds
HOOK = 'cmd_mystart() {\n\techo "mystart: $XCLUSTER"\n}\n'
NET_SETUP = '#!/bin/sh\necho "-netdev user,id=net$2 -device virtio-net-pci,netdev=net$2"\n'


def named(line: Line) -> str:
    return f"{line.seed} {line.text[:60]}"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A terminal at which the settings have been sourced."""
    place = tmp_path_factory.mktemp("experiment")
    (place / "xcluster.hook").write_text(HOOK)
    script = place / "net-setup"
    script.write_text(NET_SETUP)
    script.chmod(0o755)
    environment = {**Cluster(NAME).environment, **SMALL, "MY_EXPERIMENT_DIR": str(place)}
    try:
        with Shell(ROOT, environment) as shell:
            settled(shell)
            yield shell
    finally:
        Cluster(NAME).xc("stop")
        Cluster(NAME).xc("mkcdrom")
    assert_nothing_left(NAME)


@pytest.mark.parametrize("line", STARTS, ids=named)
def test_a_start(shell: Shell, line: Line) -> None:
    """Each replaces the cluster before it, and its nodes answer."""
    output = shell.answers(line, START)
    assert "failed in the guest" not in output
    testers = 1 if "--ntesters=1" in line.text else 0
    assert sorted(each["name"] for each in Cluster(NAME).status()["nodes"]) == [
        "vm-001", "vm-002", "vm-201", *["vm-221"][:testers],
    ]  # fmt: skip
    words = line.text.partition(";")[0].split()[2:]
    if "mkcdrom" in line.text:
        there = Cluster(NAME).rsh(1, "ls /etc/init.d")
        assert ("15externalip.rc" in there) == ("externalip" in words)
        assert ("12etcd.rc" in there) == ("etcd" in words)
        assert ("11xnet.rc" in there) == bool({"network-topology", "externalip"} & set(words))
    if "systemd" in words:
        assert "systemd" in Cluster(NAME).rsh(1, "cat /proc/1/comm")
        Cluster(NAME).until(1, ". /etc/profile; etcdctl put a b", 60)


@pytest.mark.parametrize("line", [each for each in TERMINALS if each.text != "vm 4"], ids=named)
def test_a_terminal_on_a_node(shell: Shell, line: Line) -> None:
    name = f"vm-{int(line.text.split()[1]):03d}"
    shell.send(f"{line.typed}\n")
    try:
        assert name in shell.typed("hostname")[1]
    finally:
        shell.typed("exit")
    assert name not in shell.typed("hostname")[1], "the terminal is the host's again"


@pytest.mark.parametrize("line", OPTIONS, ids=named)
def test_an_option(shell: Shell, line: Line) -> None:
    shell.answers(line)


def test_a_hook_and_a_net_setup(shell: Shell) -> None:
    shell.typed("export __net_setup=$MY_EXPERIMENT_DIR/net-setup")
    try:
        for line in CUSTOM:
            shell.answers(line)
    finally:
        shell.typed("unset XCLUSTER_HOOK __net_setup")


def test_a_device_for_randomness(shell: Shell) -> None:
    """As typed, beside the one that all nodes have."""
    for line in RANDOMNESS[:3]:
        shell.answers(line)
    try:
        status, output = shell.typed("xc start", START)
        assert status == 0, output
        assert "virtio" in Cluster(NAME).rsh(1, "cat /sys/class/misc/hw_random/rng_available")
    finally:
        shell.typed("unset __kvm_opt")


@pytest.mark.parametrize("line", ENDS, ids=named)
def test_the_end(shell: Shell, line: Line) -> None:
    shell.answers(line)
    assert not Path(ROOT, "workspace/run", NAME).exists() or os.environ.get("XCLUSTER_WORKSPACE")
