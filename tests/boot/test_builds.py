"""The real artifacts: a second build does nothing, and a build elsewhere gives the same bytes."""

import subprocess
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, WORKSPACE, Cluster, build, with_packages

pytestmark = pytest.mark.boot
TASKS = ("kernel:debian", "image:base", "ovl:network-topology", "ovl:iptools")
MADE = (
    "kernel/debian/initramfs.cpio",
    "kernel/debian/modules.img",
    "kernel/debian/vmlinux",
    "image/base.qcow2",
    "ovl/network-topology.tar",
    "ovl/iptools.tar",
)


def test_a_second_run_executes_nothing() -> None:
    build(*TASKS)
    assert build(*TASKS) == ""


def test_a_build_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    build(*TASKS)
    other = with_packages(tmp_path / "another place") / "workspace"
    build(*TASKS, workspace=other, umask=0o077)
    different = [name for name in MADE if (WORKSPACE / name).read_bytes() != (other / name).read_bytes()]
    assert different == []


def test_doit_alone_builds_what_a_start_needs_and_then_nothing() -> None:
    cluster = Cluster("t-builds")
    command = [str(ROOT / ".venv" / "bin" / "doit")]
    runs = [
        subprocess.run(command, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[1].stderr == "" and runs[1].stdout == ""
