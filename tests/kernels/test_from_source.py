"""Each kernel that `xc test` does not compile: a cluster comes up on it, with what its fragments are for."""

from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, Cluster, build, running
from tests.boot.test_kernels import KERNELS, QUICK, draws_from_the_host, loads, module_overlay, reaches


@pytest.mark.parametrize("kernel", sorted(KERNELS - QUICK))
def test_a_kernel_from_source(kernel: str, tmp_path: Path) -> None:
    build(f"kernel:{kernel}")
    own = {"XCLUSTER_OVLPATH": f"{tmp_path}:{ROOT}/ovl", "__kernel": kernel}
    overlay = module_overlay(tmp_path)
    Cluster("t-source", own).xc("mkcdrom", "env", "network-topology", overlay.name)
    for cluster in running("t-source", ["--nvm=2", "--nrouters=1"], own):
        draws_from_the_host(cluster)
        reaches(cluster)
        cluster.rsh(1, "modprobe wireguard && modprobe sch_netem && ip link add v type vrf table 10")
        for way in ("kobj", "kerneldir"):
            loads(cluster, f"/lib/modules/{way}.ko")
