"""Kubernetes: builds, image, cold start to ready with its phases, memory, and a restore to a served request.

The build from nothing takes long (a compiler run of a quarter of an hour), so it is only done when asked for;
it takes place in a workspace of its own, with what was downloaded. The goals (350 MiB compressed, 5 s from
the restore to a served request) are absolute ones.

    python -m benchmarks.k8s [sizes] [start] [restore] [build]
"""

import json
import lzma
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.measure import CLUSTER, ROOT, WORKSPACE, command, seconds, xc
from tasks.base import files, process_facts
from tasks.base.paths import Workspace
from tasks.run.kubernetes import kube_context
from tasks.run.kubernetes.api import Api, Unanswered

ROUNDS = 3
SAVED = "bench-k8s"
PATIENCE = 600.0  # seconds for a request to be served
SERVICE = "mconnect -address mconnect.default.svc.xcluster:5001 -nconn 1 -timeout 5s"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _spread(values: Sequence[float], unit: str = "s") -> str:
    return f"{statistics.median(values):.1f} {unit} [{min(values):.1f}-{max(values):.1f}]"


def sizes() -> None:
    """What the image takes, as it is and as a release packs it; and a build that has nothing to do."""
    image = Workspace(WORKSPACE).image("k8s")
    packed = 0
    packer = lzma.LZMACompressor(preset=1)
    with image.open("rb") as file:
        while block := file.read(1 << 20):
            packed += len(packer.compress(block))
    packed += len(packer.flush())
    mib = 1 << 20
    _say(f"image k8s: {image.stat().st_size / mib:.0f} MiB, xz {packed / mib:.0f} MiB (goal: 350 MiB)")
    _say(f"a build with nothing to do: {seconds(command('./xc', 'image:k8s')):.1f} s")


def build() -> None:
    """`image:k8s` in an empty workspace, with the downloads of this one, but nothing that was compiled."""
    with tempfile.TemporaryDirectory(dir=WORKSPACE) as folder:
        shutil.copytree(WORKSPACE / "cache" / "apt", Path(folder, "cache", "apt"), symlinks=True)
        modules = WORKSPACE / "cache" / "go" / "mod"
        env = {"XCLUSTER_WORKSPACE": folder, **({"GOMODCACHE": str(modules)} if modules.is_dir() else {})}
        _say(f"image:k8s from nothing: {seconds(command('./xc', 'image:k8s', env=env)):.0f} s")
        _say(f"  again: {seconds(command('./xc', 'image:k8s', env=env)):.1f} s")
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)  # Go's modules are read-only


def _memory() -> dict[str, float]:
    """Real memory of each node in MiB."""
    status = subprocess.run(
        ["./xc", "status", "--name", CLUSTER, "-o", "json"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    return {
        node["name"]: process_facts.real_memory(node["pid"]) / 1024 for node in json.loads(status)["nodes"]
    }


def _cold(words: Sequence[str]) -> tuple[float, Mapping[str, float]]:
    """One start until ready: seconds of the whole command, and when each phase was over."""
    took = seconds(lambda: xc("k8s", *words))
    record = files.read_json(Workspace(WORKSPACE).cluster(CLUSTER).ready)
    phases: dict[str, float] = record["seconds"]
    return took, phases


def start() -> None:
    """From nothing running to ready: one node, and two nodes with a router (snapshots are there)."""
    for words in (["--nvm=1", "--nrouters=0"], ["--nvm=2", "--nrouters=1"]):
        xc("k8s", *words)
        xc("stop")
        rounds = []
        for _ in range(ROUNDS):
            rounds.append(_cold(words))
            memory = _memory()
            xc("stop")
        _say(f"start until ready, {' '.join(words)}: {_spread([took for took, _ in rounds])}")
        for phase in rounds[0][1]:
            _say(f"  {phase} after the nodes answered: {_spread([phases[phase] for _, phases in rounds])}")
        _say("  memory in MiB: " + ", ".join(f"{name} {mib:.0f}" for name, mib in memory.items()))


def _served(ask: Callable[[], bool], began: float) -> float:
    """Seconds from `began` until something is served."""
    while not ask():
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError("nothing is served")
        time.sleep(0.05)
    return time.monotonic() - began


def _service() -> bool:
    words = ["./xc", "rsh", "--name", CLUSTER, "2", SERVICE]
    return not subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode


def _api() -> bool:
    try:
        Api(kube_context.access(Workspace(WORKSPACE), CLUSTER)).get("/api/v1/nodes")
    except Unanswered:
        return False
    return True


def restore() -> None:
    """A ready cluster of two nodes and a router from its checkpoint."""
    xc("k8s", "--nvm=2", "--nrouters=1")
    on_node = ["./xc", "rsh", "--name", CLUSTER, "1"]
    for text in ("apply -f /etc/kubernetes/mconnect.yaml", "rollout status deployment/mconnect-deployment"):
        command(*on_node, f"kubectl {text}")()
    subprocess.run(["./xc", "checkpoint", "rm", SAVED], cwd=ROOT, capture_output=True, check=False)
    _say(xc("checkpoint", "save", SAVED).strip())
    times: dict[str, list[float]] = {"the nodes": [], "the API": [], "a service of pods": [], "ready": []}
    for _ in range(ROUNDS):
        for what, ask in (("the API", _api), ("a service of pods", _service)):
            xc("stop")
            began = time.monotonic()
            xc("starts", f"--from={SAVED}")
            times["the nodes"].append(time.monotonic() - began)
            times[what].append(_served(ask, began))
        xc("stop")
        times["ready"].append(seconds(lambda: xc("starts", f"--from={SAVED}", "--wait=ready")))
    for what, values in times.items():
        _say(f"restore of 2+1 until {what}: {_spread(values)} (goal: 5 s)")
    xc("stop")
    xc("checkpoint", "rm", SAVED)


if __name__ == "__main__":
    os.chdir(ROOT)
    parts = {"sizes": sizes, "start": start, "restore": restore, "build": build}
    for name in sys.argv[1:] or ["sizes", "start", "restore"]:
        parts[name]()
