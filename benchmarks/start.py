"""Cold start of 4 nodes and 2 routers, all answering ssh, against the bare limit: six bare QEMU guests of the
same kernel, memory and CPUs, booted at once to an init that only says that it is there (no disk, no network).

    python -m benchmarks.start [KERNEL]
"""

import re
import subprocess
import sys

from benchmarks.measure import ROOT, WORKSPACE, compare
from tasks import launch
from tasks.lib.paths import Workspace
from tasks.lib.settings import Settings
from tasks.node import accel, qemu

CLUSTER = "bench"
NODES = 6


def bare(kernel: str) -> None:
    """Boot six guests at once, and wait until the last one has powered off."""
    workspace = Workspace(WORKSPACE)
    plan = launch.plan(Settings(kernel=kernel, name=CLUSTER), workspace)
    accel.tiny_initramfs(workspace.probe_guest)
    words = qemu.cmdline(plan.boot, plan.nodes[0]).replace("root=/dev/vda rw init=/init ", "")
    command = [
        qemu.QEMU, "-nodefaults", "-no-user-config", "-machine", "pc,hpet=off", "-accel", plan.boot.accel,
        "-cpu", "max" if plan.boot.accel == "tcg" else "host", "-m", "128", "-smp", "2", "-display", "none",
        "-no-reboot", "-serial", "stdio", "-kernel", str(plan.boot.kernel),
        "-initrd", str(workspace.probe_guest), "-append", words,
    ]  # fmt: skip
    guests = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(NODES)
    ]
    for guest in guests:
        said, _ = guest.communicate(timeout=120)
        assert accel.MARK in said, said


def cluster(kernel: str) -> None:
    """Start the cluster, replacing the one before."""
    words = ["./xc", "starts", "--cold", "--name", CLUSTER, f"--kernel={kernel}"]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert re.search(rf"^{NODES} nodes in", done.stderr, re.M), done.stderr


def main(kernel: str) -> None:
    """Measure one kernel."""
    try:
        compare(f"cold start of 4+2, {kernel}", lambda: cluster(kernel), lambda: bare(kernel), bound=2.0)
    finally:
        subprocess.run(["./xc", "stop", "--name", CLUSTER], cwd=ROOT, check=True, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "linux-6.1")
