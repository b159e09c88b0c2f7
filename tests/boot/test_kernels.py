"""Kernels in guests: Debian's, and the one that test_compile.py compiles.

The others take many times as long to compile and are tried in tests/kernels.
"""

from collections.abc import Iterator

import pytest

from tasks.base import files
from tests.boot.conftest import ROOT, WORKSPACE, Cluster, build, running

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


def test_debians_kernel(base: Cluster) -> None:
    assert "cloud-amd64" in base.rsh(1, "uname -r")
    draws_from_the_host(base)
    reaches(base)
    base.rsh(
        1, "modprobe wireguard && modprobe sch_netem && ip link add v type vrf table 10 && ip link del v"
    )


@pytest.fixture(scope="module")
def small() -> Iterator[Cluster]:
    """Two nodes and a router on a kernel that was compiled here."""
    build("kernel:small")
    yield from running("t-small", ["--nvm=2", "--nrouters=1", "--kernel=small"])


def test_a_compiled_kernel_starts_a_cluster(small: Cluster) -> None:
    draws_from_the_host(small)
    reaches(small)
    version = files.read_json(WORKSPACE / "kernel" / "small.json")["version"]
    assert small.rsh(1, "uname -r").strip() == version
    assert "(xcluster@xcluster)" in small.rsh(1, "cat /proc/version"), "who compiled it is no input"


def test_its_modules_are_on_a_disk_that_nodes_share(small: Cluster) -> None:
    assert "/lib/modules ext4 ro" in small.rsh(1, "cat /proc/mounts")
    small.rsh(1, "modprobe ipip")
    loaded = {line.split()[0] for line in small.rsh(1, "cat /proc/modules").splitlines()}
    assert {"ipip", "tunnel4", "ip_tunnel"} <= loaded


def test_its_nodes_are_clones(small: Cluster) -> None:
    logs = [log.read_text() for log in small.directory.glob("vm-*/qemu.log")]
    assert ["-incoming defer" in log for log in logs] == [True] * 3
