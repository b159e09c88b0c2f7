"""What the door costs: CPU time of verbs, and of a start's own Python, against `python3 -c pass`.

    python -m benchmarks.door [--times=15] [--start "--name=bench --nvm=1 --nrouters=0"]

CPU time is user and system time of a process and of all that it waited for (os.wait4), so other work on the
host counts little. The verbs are asked about a cluster that a made-up record describes: each of its nodes
is this process, and `ssh` is a program that does nothing. So no virtual machine is needed, and what is
measured is ours. With `--start` a real start is measured too, without the programs that it runs.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.base import process_facts
from tasks.definitions.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv/bin/python"
VERBS = ("rsh 1 true", "status", "stop --name=none", "logs 1", "start --help")
# Runs the door in a process that writes down its own CPU time, without that of its children, at its end.
OWN = """
import atexit, resource, sys
def note(path):
    used = resource.getrusage(resource.RUSAGE_SELF)
    open(path, "w").write(str(used.ru_utime + used.ru_stime))
atexit.register(note, sys.argv[1])
from tasks.base import later
later.install()
sys.argv = ["xc", *sys.argv[2:]]
from tasks.cli.door import main
sys.exit(main(sys.argv[1:]))
"""


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=15, help="how often each is measured; the median counts")
    parser.add_argument("--start", help="options of a real start to measure, too")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xc-door-") as folder:
        rows = measured(Path(folder), chosen.times)
    if chosen.start is not None:
        rows["a start's own Python"] = starts(chosen.start.split(), max(3, chosen.times // 5))
    base = rows["python3 -c pass"]
    print("| | ms of CPU, median | x `python3 -c pass` |\n|---|---|---|")
    for name, seconds in rows.items():
        print(f"| `{name}` | {seconds * 1000:.0f} | {seconds / base:.1f} |")


def measured(workspace: Path, times: int) -> dict[str, float]:
    """Seconds of CPU by command; all commands take turns, so that a busy moment is shared."""
    env = prepared(workspace)
    commands = {"python3 -c pass": [str(PYTHON), "-c", "pass"]}
    commands |= {f"xc {line}": [str(ROOT / "xc"), *line.split()] for line in VERBS}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times + 1):
        for name, argv in commands.items():
            taken[name].append(cpu(argv, env))
    return {name: statistics.median(each[1:]) for name, each in taken.items()}  # the first one warms up


def prepared(workspace: Path) -> dict[str, str]:
    """Write the record of a cluster of six nodes that have ended; the environment that leads to it."""
    settings = Settings(net="userspace")
    root = workspace / "run/xcluster"
    for node in settings.nodes():
        folder = root / node.name
        folder.mkdir(parents=True)
        record: dict[str, object] = {
            "pid": os.getpid(),
            "start": process_facts.started_at(os.getpid()),
            "number": node.number,
            "image": "/none",
        }
        record["node"] = node.model_dump(mode="json")
        (folder / "node.json").write_text(json.dumps(record))
        (folder / "console.log").write_text("booted\n")
    cluster = {
        "settings": settings.model_dump(mode="json"), "ports": {"ssh": 12300, "telnet": None, "api": None},
        "accel": "tcg", "made_of": {}, "started": 1,
    }  # fmt: skip
    (root / "cluster.json").write_text(json.dumps(cluster))
    (workspace / "keys").mkdir()
    (workspace / "keys/id_ed25519").touch()
    (workspace / "bin").mkdir()
    (workspace / "bin/ssh").symlink_to("/bin/true")
    path = f"{workspace}/bin:{os.environ['PATH']}"
    return {**os.environ, "XCLUSTER_WORKSPACE": str(workspace), "PATH": path}


def starts(options: Sequence[str], times: int) -> float:
    """Seconds of CPU of a start's own process; a start before has built what is needed."""
    seconds = []
    with tempfile.TemporaryDirectory(prefix="xc-door-") as folder:
        note = Path(folder) / "cpu"
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONPYCACHEPREFIX": str(ROOT / ".venv/pycache"),
        }
        for turn in range(times + 1):
            cpu([str(PYTHON), "-S", "-P", "-c", OWN, str(note), "start", *options], env)
            seconds += [float(note.read_text())] if turn else []
    cpu([str(ROOT / "xc"), "stop", *(word for word in options if word.startswith("--name"))], os.environ)
    return statistics.median(seconds)


def cpu(argv: Sequence[str], env: Mapping[str, str]) -> float:
    """User and system time of a process and of those it waited for, in seconds."""
    pid = os.posix_spawn(
        argv[0], list(argv), dict(env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)
        ],
    )  # fmt: skip
    _, status, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(argv)} failed")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
