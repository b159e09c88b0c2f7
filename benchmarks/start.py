"""Start of 4 nodes and 2 routers with the overlay network-topology, until each answers ssh.

Cold, against the bare limit: six bare QEMU guests of the same kernel, memory and CPUs, booted at once to an
init that only says that it is there (no disk, no network). Then clones, against the cold start: seconds and
real memory, and where the time of the slowest node goes.

    python -m benchmarks.start [KERNEL]
"""

import re
import statistics
import subprocess
import sys

from benchmarks.measure import CLUSTER, WORKSPACE, compare, row, seconds, xc
from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tasks.run.cluster import plan
from tasks.run.node import accel, qemu

NODES = 6


def bare(kernel: str) -> None:
    """Boot six guests at once, and wait until the last one has powered off."""
    workspace = Workspace(WORKSPACE)
    start = plan.to_start(plan.survey(Settings(kernel=kernel, name=CLUSTER), workspace))
    assert start.boot, "its nodes are virtual machines"
    accel.tiny_initramfs(workspace.probe_guest)
    words = qemu.cmdline(start.boot, start.nodes[0]).replace("root=/dev/vda rw init=/init ", "")
    command = [
        qemu.QEMU, "-nodefaults", "-no-user-config", "-machine", "pc,hpet=off", "-accel", start.boot.accel,
        "-cpu", qemu.cpu(start.boot.accel), "-m", "128", "-smp", "2",
        "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", str(start.boot.kernel),
        "-initrd", str(workspace.probe_guest), "-append", words,
    ]  # fmt: skip
    guests = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(NODES)
    ]
    for guest in guests:
        output, _ = guest.communicate(timeout=120)
        assert accel.MARK in output, output


def cluster(kernel: str, *words: str) -> int:
    """Start the cluster; its real memory in MiB."""
    output = xc("starts", f"--kernel={kernel}", *words)
    match = re.search(rf"^{NODES} nodes in .* (\d+) MiB real memory", output, re.M)
    assert match, output
    return int(match.group(1))


def clones(kernel: str, rounds: int = 5) -> None:
    """Clones against a cold start, in turn."""
    times: dict[str, list[float]] = {"": [], "--cold": []}
    memory: dict[str, list[int]] = {"": [], "--cold": []}
    phases: list[dict[str, float]] = []
    for _ in range(rounds + 1):
        for how, each in times.items():
            xc("stop")
            each.append(seconds(lambda how=how: memory[how].append(cluster(kernel, *filter(None, [how])))))  # type: ignore[misc]
            if not how:
                phases.append(slowest())
    row(f"clones of 4+2, {kernel}", times[""][1:], times["--cold"][1:], 0.25)
    one, other = (statistics.median(memory[how][1:]) for how in ("", "--cold"))
    sys.stdout.write(f"  real memory: {one:.0f} MiB against {other:.0f} MiB, ratio {one / other:.2f}\n")
    for phase in phases[-1]:
        spent = statistics.median(each.get(phase, 0.0) for each in phases[1:])
        sys.stdout.write(f"  {phase}: {spent:.2f} s\n")


def slowest() -> dict[str, float]:
    """Seconds of each phase of the node that answered last, as `xc logs N --events` has them."""
    logs = [path.read_text().splitlines() for path in (WORKSPACE / "run" / CLUSTER).glob("vm-*/events.log")]
    last = max(logs, key=lambda lines: float(lines[-1].split()[0]))
    at = {line.partition(" ")[2]: float(line.split()[0]) for line in last}
    restored, ready, ssh = at["phase rc"], at["phase ready"], at["ssh"]
    return {
        "from the thaw to the first rc script": restored,
        "rc scripts": ready - restored,
        "ssh": ssh - ready,
    }


def main(kernel: str) -> None:
    """Measure one kernel."""
    try:
        xc("mkcdrom", "network-topology")
        title = f"cold start of 4+2, {kernel}"
        compare(
            title,
            lambda: cluster(kernel, "--cold"),
            lambda: bare(kernel),
            bound=2.0,
            before=lambda: xc("stop"),
        )
        clones(kernel)
    finally:
        xc("stop")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "linux-6.1")
