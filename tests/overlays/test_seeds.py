"""What xcluster's documents type for clusters without Kubernetes, at a terminal, as it stands there."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, WORKSPACE, Cluster, assert_nothing_left
from tests.seeds.cluster_lines import CUSTOM, ENDS, FROM_OUTSIDE, OPTIONS, RANDOMNESS, STARTS, TERMINALS
from tests.seeds.kubernetes_lines import IMAGE
from tests.seeds.line import Line
from tests.seeds.shell import Shell, settled
from tests.webserver import serving

NAME = "t-seeds"
# Smaller than the documents' clusters, by variables as a user would set them.
SMALL = {"__name": NAME, "__nvm": "2", "__nrouters": "1"}
START = 600  # seconds
NUMBER = 57  # of a namespace
HOOK = 'cmd_mystart() {\n\techo "mystart: $XCLUSTER"\n}\n'
NET_SETUP = '#!/bin/sh\necho "-netdev user,id=net$2 -device virtio-net-pci,netdev=net$2"\n'


def named(line: Line) -> str:
    return f"{line.seed} {line.text[:60]}"


@pytest.fixture(autouse=True)
def stopped() -> None:
    """What a line has started is for the next ones: the one of that name stops it after each test."""


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


@pytest.mark.parametrize("line", TERMINALS, ids=named)
def test_a_terminal_on_a_node(shell: Shell, line: Line) -> None:
    number = int(line.text.split()[1])
    name = f"vm-{number:03d}"
    if name not in {each["name"] for each in Cluster(NAME).status()["nodes"]}:
        Cluster(NAME).xc("scaleout", str(number))
    shell.moved(line.typed)
    try:
        assert name in shell.typed("hostname")[1]
    finally:
        shell.moved("exit")
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


def test_a_disk_image_from_a_server(shell: Shell, tmp_path: Path) -> None:
    """Raw and packed with xz, as the documents fetch theirs; here it is the base image, under its name."""
    raw, disk = tmp_path / "raw", tmp_path / "xcluster/hd.img"
    disk.parent.mkdir()
    base = WORKSPACE / "image/base.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", base, raw], check=True)
    packed = subprocess.run(["xz", "-0", "-c", raw], check=True, stdout=subprocess.PIPE).stdout
    with serving(packed) as server:
        shell.typed(f"SERVER={server.url}; export __image={disk} __nvm=1 __nrouters=0")
        try:
            for line in IMAGE:
                shell.answers(line, START)
            assert server.requests == ["/xcluster/images/hd-k8s.img.xz"]
            assert disk.stat().st_size == raw.stat().st_size
            before = disk.stat().st_mtime_ns
            status, output = shell.typed("xc start", START)
            assert status == 0 and "1 node in " in output, output
            own = Cluster(NAME).directory / "vm-001/disk.qcow2"
            chain = ["qemu-img", "info", "-U", "--backing-chain", str(own)]
            assert f"image: {disk}\n" in subprocess.check_output(chain, text=True)
            assert Cluster(NAME).rsh(1, "touch /new; sync; hostname").strip() == "vm-001"
            assert disk.stat().st_mtime_ns == before, "nodes write to disks of their own"
        finally:
            shell.typed("xc stop; unset __image; export __nvm=2 __nrouters=1")


@pytest.mark.parametrize("line", ENDS, ids=named)
def test_the_end(shell: Shell, line: Line) -> None:
    shell.answers(line)
    assert not Path(ROOT, "workspace/run", NAME).exists() or os.environ.get("XCLUSTER_WORKSPACE")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes named namespaces")
def test_ssh_from_a_namespace(tmp_path: Path) -> None:
    """As the first document does it: enter a namespace, start a cluster there, log in by IPv6."""
    key, known = WORKSPACE / "keys/id_ed25519", tmp_path / "known"
    (tmp_path / "config").write_text(
        f"IdentityFile {key}\nUserKnownHostsFile {known}\nStrictHostKeyChecking accept-new\n"
    )
    environment = {**Cluster(NAME).environment, **SMALL, "__nvm": "3", "CONFIG": f"{tmp_path}/config"}
    with Shell(ROOT, environment) as shell:
        settled(shell)
        assert shell.typed(f"xc nsadd {NUMBER}")[0] == 0
        try:
            shell.moved(f"xc nsenter {NUMBER}")
            settled(shell)
            shell.answers(next(line for line in STARTS if line.text == "xc start"), START)
            for line in FROM_OUTSIDE:
                shell.answers(line)
            for line in ENDS[:1]:
                shell.answers(line)
            shell.moved("exit")
        finally:
            Cluster(NAME).xc("stop")
            assert shell.typed(f"xc nsdel {NUMBER}")[0] == 0
    assert_nothing_left(NAME)
