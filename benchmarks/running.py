"""What is done with a running cluster, and how large one can be.

Checkpoints and single nodes of 4 nodes and 2 routers with the overlay network-topology, against the start
of that cluster as clones; xc verify, against a start; then 100 nodes of 64 MiB. The goals for the checkpoint
(1 s paused, 2 s to restore) and for 100 nodes (60 s, 4096 MiB) are absolute ones.

    python -m benchmarks.running [KERNEL]
"""

import re
import statistics
import sys

from benchmarks.measure import row, seconds, xc

ROUNDS = 5
SAVED = "bench-saved"
MANY = 100


def _number(pattern: str, output: str) -> float:
    match = re.search(pattern, output)
    assert match, output
    return float(match.group(1))


def _report(what: str, values: list[float], unit: str, goal: str) -> None:
    middle = statistics.median(values)
    text = f"  {what}: {middle:.2f} {unit} [{min(values):.2f}-{max(values):.2f}] (goal: {goal})\n"
    sys.stdout.write(text)
    sys.stdout.flush()


def small(kernel: str) -> None:
    """Save, restore, scaleout of the six nodes."""
    times: dict[str, list[float]] = {name: [] for name in ("start", "save", "paused", "restore", "scaleout")}
    start = ["starts", f"--kernel={kernel}"]
    xc(*start)
    for _ in range(ROUNDS):
        xc("stop")
        times["start"].append(seconds(lambda: xc(*start)))
        times["scaleout"].append(seconds(lambda: xc("scaleout", "5")))
        xc("scalein", "5")
        outputs: list[str] = []
        times["save"].append(seconds(lambda outputs=outputs: outputs.append(xc("checkpoint", "save", SAVED))))  # type: ignore[misc]
        times["paused"].append(_number(r"paused (?:for )?([\d.]+) s", outputs[0]))
        xc("stop")
        times["restore"].append(seconds(lambda: xc("checkpoint", "restore", SAVED)))
        xc("checkpoint", "rm", SAVED)
    row(f"restore of 4+2, {kernel}, against its start as clones", times["restore"], times["start"])
    row("scaleout of one node, against that", times["scaleout"], times["start"])
    _report("restore, whole command", times["restore"], "s", "2")
    _report("paused by a save", times["paused"], "s", "1")
    _report("save, whole command", times["save"], "s", "-")


def verified(kernel: str) -> None:
    """All that xc verify does with xnet, against the start that is a part of it."""
    words = [f"--kernel={kernel}", "--ntesters=1"]
    overlays = ["env", "network-topology", "iptools", "dns"]
    times: dict[str, list[float]] = {"verify": [], "start": []}
    for _ in range(ROUNDS + 1):
        xc("stop")
        times["verify"].append(seconds(lambda: xc("verify", *words)))
        xc("mkcdrom", *overlays)
        times["start"].append(seconds(lambda: xc("starts", *words)))
    row(f"verify of xnet, {kernel}, against its start", times["verify"][1:], times["start"][1:], 3.0)


def many(kernel: str) -> None:
    """100 nodes of 64 MiB, until all answer."""
    outputs: list[str] = []
    words = ["starts", f"--kernel={kernel}", f"--nvm={MANY}", "--nrouters=0", "--mem=64", "--timeout=600"]
    xc("stop")
    took = seconds(lambda: outputs.append(xc(*words)))
    _report(f"{MANY} nodes of 64 MiB, whole command", [took], "s", "60")
    _report("their real memory", [_number(r"(\d+) MiB real memory", outputs[0])], "MiB", "4096")
    _report("stop", [seconds(lambda: xc("stop"))], "s", "-")


def main(kernel: str) -> None:
    """Measure one kernel."""
    try:
        xc("mkcdrom", "network-topology")
        small(kernel)
        verified(kernel)
        many(kernel)
    finally:
        xc("stop")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "linux-6.1")
