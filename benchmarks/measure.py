"""Times two ways of doing a thing in turn, and prints the ratio of the medians."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORKSPACE = Path(os.environ.get("XCLUSTER_WORKSPACE") or ROOT / "workspace")
CLUSTER = "bench"


def seconds(action: Callable[[], object]) -> float:
    """How long `action` takes, in seconds of wall time."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def command(*words: str, env: dict[str, str] | None = None) -> Callable[[], object]:
    """An action that runs a command to its end and expects it to succeed."""

    def act() -> object:
        return subprocess.run(
            words,
            check=True,
            cwd=ROOT,
            capture_output=True,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
        )

    return act


def xc(*words: str) -> str:
    """Run a verb for the cluster of the benchmarks; what it said."""
    command = ["./xc", words[0], "--name", CLUSTER, *words[1:]]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    ).stderr


def compare(
    title: str,
    ours: Callable[[], object],
    limit: Callable[[], object],
    *,
    rounds: int = 5,
    bound: float | None = None,
    before: Callable[[], object] = lambda: None,
) -> None:
    """Time `ours` and `limit` alternately after one warm-up each, and print medians, spread and ratio.

    `before` is done before each of both, outside the time.
    """
    pairs = []
    for _ in range(rounds + 1):
        before()
        first = seconds(ours)
        before()
        pairs.append((first, seconds(limit)))
    row(title, [pair[0] for pair in pairs[1:]], [pair[1] for pair in pairs[1:]], bound)


def row(title: str, ours: Sequence[float], limit: Sequence[float], bound: float | None = None) -> None:
    """Print one line of the table."""
    ratio = statistics.median(ours) / statistics.median(limit)
    goal = f" (goal: at most {bound})" if bound else ""
    sys.stdout.write(f"{title}: {_spread(ours)} against {_spread(limit)}, ratio {ratio:.2f}{goal}\n")
    sys.stdout.flush()


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} s [{min(values):.2f}-{max(values):.2f}]"
