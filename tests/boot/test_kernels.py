"""Kernels in guests: Debian's, and the one that test_compile.py compiles.

The others take many times as long to compile and are tried in tests/kernels.
"""

import base64
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import files
from tests.boot.conftest import ROOT, WORKSPACE, Cluster, build, running

pytestmark = [pytest.mark.boot, pytest.mark.timeout(1800)]
KERNELS = {path.stem for path in (ROOT / "kernel").glob("*.yaml")}
QUICK = {"debian", "small"}  # no compilation, and one of a few minutes


# As upstream's overlays compile modules; both ways, because each is in use.
MODULE_TAR = """#! /bin/sh
dir=$(dirname $0); dir=$(readlink -f $dir)
tmp=/tmp/$USER/hello-module_$$
eval $($XCLUSTER env | grep -E '__kver|__kobj|KERNELDIR')
mkdir -p $tmp/lib/modules
for way in kobj kerneldir; do
	mkdir $tmp/$way
	cp $dir/src/* $tmp/$way
	if test $way = kobj; then
		make -C $__kobj M=$tmp/$way modules >&2
	else
		make -C $KERNELDIR/$__kver O=$__kobj M=$tmp/$way >&2
	fi
	strip -g $tmp/$way/hello.ko
	mv $tmp/$way/hello.ko $tmp/lib/modules/$way.ko
done
cd $tmp
tar cf "$1" lib
cd /
rm -rf $tmp
"""
MODULE = """#include <linux/module.h>
static int __init hello(void) { pr_info("hello-module: loaded\\n"); return 0; }
static void __exit bye(void) { pr_info("hello-module: unloaded\\n"); }
module_init(hello);
module_exit(bye);
MODULE_LICENSE("GPL");
"""


def module_overlay(place: Path) -> Path:
    """An overlay hello-module with a `tar` script that compiles a module in two ways."""
    overlay = place / "hello-module"
    (overlay / "src").mkdir(parents=True)
    (overlay / "src/hello.c").write_text(MODULE)
    (overlay / "src/Makefile").write_text("obj-m := hello.o\n")
    (overlay / "tar").write_text(MODULE_TAR)
    (overlay / "tar").chmod(0o755)
    return overlay


def loads(cluster: Cluster, path: str) -> None:
    """A module can be loaded and unloaded on a node."""
    cluster.rsh(1, f"dmesg -c >/dev/null; insmod {path} && lsmod | grep '^hello ' && rmmod hello")
    assert cluster.rsh(1, "dmesg").count("hello-module: ") == 2


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


@pytest.mark.skipif(not shutil.which("gcc") or not shutil.which("make"), reason="no compiler")
def test_a_module_for_debians_kernel(base: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XCLUSTER_OVLPATH", f"{tmp_path}:{ROOT}/ovl")
    told = build(f"ovl:{module_overlay(tmp_path).name}")
    assert "headers:debian" in told or (WORKSPACE / "headers/debian.json").is_file()
    with tarfile.open(WORKSPACE / "ovl/hello-module.tar") as tar:
        for way in ("kobj", "kerneldir"):
            module = tar.extractfile(f"lib/modules/{way}.ko")
            assert module
            text = base64.b64encode(module.read()).decode()
            base.rsh(1, f"echo {text} | base64 -d > /tmp/{way}.ko")
            loads(base, f"/tmp/{way}.ko")


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
