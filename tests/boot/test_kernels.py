"""Kernels in guests: Debian's, and one that is compiled here, by every step that a kernel from source takes.

The others take many times as long to compile and are tried in tests/kernels.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base.errors import UserError
from tasks.build.kernel import kbuild, kconfig
from tests.boot.conftest import ROOT, WORKSPACE, Cluster, running

pytestmark = [pytest.mark.boot, pytest.mark.timeout(1800)]
KERNELS = {path.stem for path in (ROOT / "kernel").glob("*.yaml")}
QUICK = {"debian", "small"}  # no compilation, and one of a few minutes


def draws_from_the_host(cluster: Cluster) -> None:
    """The nodes' randomness is the host's."""
    assert cluster.rsh(1, "cat /sys/class/misc/hw_random/rng_current").startswith("virtio_rng")


def reaches(cluster: Cluster) -> None:
    """A node reaches another one and a router on the cluster net, in both families."""
    for address in ("192.168.1.2", "fd00::192.168.1.2", "192.168.1.201", "fd00::192.168.1.201"):
        cluster.until(1, f"ping -c1 -W2 {address}")


def test_every_kernel_is_tried() -> None:
    assert QUICK < KERNELS and "linux-6.1" in KERNELS - QUICK


def test_debians_kernel() -> None:
    for cluster in running("t-debian", ["--nvm=2", "--nrouters=1", "--kernel=debian"]):
        draws_from_the_host(cluster)
        reaches(cluster)
        cluster.rsh(1, "modprobe wireguard && modprobe sch_netem && ip link add v type vrf table 10")


@pytest.fixture(scope="module")
def small() -> Iterator[Cluster]:
    """Two nodes and a router on a kernel that was compiled here."""
    Cluster("t-small").xc("kernel:small", timeout=1800)
    yield from running("t-small", ["--nvm=2", "--nrouters=1", "--kernel=small"])


def test_a_compiled_kernel_starts_a_cluster(small: Cluster) -> None:
    draws_from_the_host(small)
    reaches(small)
    stamp = json.loads((WORKSPACE / "kernel" / "small.json").read_text())
    assert small.rsh(1, "uname -r").strip() == stamp["version"]
    assert "(xcluster@xcluster)" in small.rsh(1, "cat /proc/version"), "who compiled it is no input"


def test_its_modules_are_on_a_disk_that_nodes_share(small: Cluster) -> None:
    assert "/lib/modules ext4 ro" in small.rsh(1, "cat /proc/mounts")
    small.rsh(1, "modprobe ipip")
    loaded = {line.split()[0] for line in small.rsh(1, "cat /proc/modules").splitlines()}
    assert {"ipip", "tunnel4", "ip_tunnel"} <= loaded


def test_its_nodes_are_clones(small: Cluster) -> None:
    for folder in small.directory.glob("vm-*"):
        assert "-incoming defer" in (folder / "qemu.log").read_text(), folder.name


def test_a_second_build_of_it_executes_nothing(small: Cluster) -> None:
    assert small.xc("kernel:small").stderr == ""


def test_what_the_kernels_own_rules_take_away_is_named(small: Cluster, tmp_path: Path) -> None:
    """NET_VRF needs NET_L3_MASTER_DEV, which this kernel does not have."""
    source = WORKSPACE / "kbuild" / "small" / "source"
    fragments = kconfig.load(ROOT / "kernel" / "fragments", ["small", "virtio", "virtio-rng"])
    tree = kbuild.Tree(source, tmp_path / "objects", 0, tmp_path / "log")
    tree.configure(fragments)
    with pytest.raises(UserError, match="fragment mine: CONFIG_NET_VRF=m was asked for, the kernel has n"):
        tree.configure({**fragments, "mine": {"CONFIG_NET_VRF": "m"}})
