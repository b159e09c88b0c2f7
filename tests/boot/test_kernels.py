"""Each kernel: a cluster comes up, and its nodes draw randomness from the host."""

from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, Cluster

pytestmark = pytest.mark.boot
KERNELS = sorted(path.stem for path in (ROOT / "kernel").glob("*.yaml"))


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_boots_with_virtio_rng(kernel: str) -> None:
    cluster = Cluster(f"t-{kernel.replace('.', '-')}")
    cluster.xc("starts", "--nvm=1", "--nrouters=1", f"--kernel={kernel}", timeout=2400)
    try:
        assert cluster.rsh(1, "cat /sys/class/misc/hw_random/rng_current").startswith("virtio_rng")
        cluster.until(1, "ping -c1 -W2 192.168.1.201")
        cluster.rsh(1, "modprobe wireguard && modprobe sch_netem && ip link add v type vrf table 10")
    finally:
        cluster.xc("stop")


def test_every_kernel_is_tried() -> None:
    assert "debian" in KERNELS and "linux-6.1" in KERNELS
    assert all(Path(ROOT / "kernel" / f"{name}.yaml").is_file() for name in KERNELS)
