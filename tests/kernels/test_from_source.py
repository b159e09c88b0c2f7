"""Each kernel that `xc test` does not compile: a cluster comes up on it, with what its fragments are for."""

import pytest

from tests.boot.conftest import Cluster, running
from tests.boot.test_kernels import KERNELS, QUICK, draws_from_the_host, reaches


@pytest.mark.parametrize("kernel", sorted(KERNELS - QUICK))
def test_a_kernel_from_source(kernel: str) -> None:
    Cluster("t-source").xc(f"kernel:{kernel}", timeout=3000)
    for cluster in running("t-source", ["--nvm=2", "--nrouters=1", f"--kernel={kernel}"]):
        draws_from_the_host(cluster)
        reaches(cluster)
        cluster.rsh(1, "modprobe wireguard && modprobe sch_netem && ip link add v type vrf table 10")
