"""Clusters of real virtual machines, started through the same door as a user's."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import is_beside

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = Path(os.environ.get("XCLUSTER_WORKSPACE") or ROOT / "workspace")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts a kernel that is compiled first comes last: another process may be at it."""
    items.sort(
        key=lambda item: item.path.name == "test_kernels.py" and item.path.parent == ROOT / "tests/boot"
    )


@dataclass(frozen=True)
class Cluster:
    """One named cluster and the ways to talk to it."""

    name: str
    env: Mapping[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        """The command line of a verb for this cluster."""
        return [str(ROOT / "xc"), words[0], "--name", self.name, *words[1:]]

    def xc(self, *words: str, ok: bool = True, timeout: float = 600) -> "subprocess.CompletedProcess[str]":
        """Run a verb to its end; with `ok` it has to succeed."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=timeout, check=False,
            env=self.environment, cwd=ROOT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if ok:
            assert done.returncode == 0, (
                f"xc {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def spawn(self, *words: str) -> "subprocess.Popen[str]":
        """Start a verb and do not wait."""
        return subprocess.Popen(
            self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def rsh(self, number: int, command: str) -> str:
        """What a command on a node prints; it has to succeed."""
        return self.xc("rsh", str(number), command).stdout

    def until(self, number: int, command: str, seconds: float = 30) -> str:
        """What a command on a node prints once it succeeds."""
        end = time.monotonic() + seconds
        while True:
            done = self.xc("rsh", str(number), command, ok=False)
            if done.returncode == 0 or time.monotonic() > end:
                assert done.returncode == 0, f"vm {number}: {command}: {done.stdout}{done.stderr}"
                return done.stdout
            time.sleep(0.3)

    def status(self) -> Any:
        """The parsed output of `status -o json`."""
        return json.loads(self.xc("status", "-o", "json").stdout)

    @property
    def environment(self) -> dict[str, str]:
        """Ours, less what would choose overlays or a display, and this cluster's own."""
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("__", "xcluster_")) and k != "DISPLAY"
        }
        return {**kept, **self.env}

    @property
    def directory(self) -> Path:
        """Where the running cluster lives."""
        return WORKSPACE / "run" / self.name


def build(*tasks: str, workspace: Path = WORKSPACE, umask: int = 0o022) -> str:
    """Bring tasks up to date; what is told of it, which is nothing when there was nothing to do."""
    env = {**Cluster("").environment, "XCLUSTER_WORKSPACE": str(workspace)}
    done = subprocess.run(
        [str(ROOT / "xc"), *tasks], cwd=ROOT, env=env, capture_output=True, text=True, check=False,
        umask=umask, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def with_packages(project: Path) -> Path:
    """Give a project what was fetched of Debian for this one, and none of what was built."""
    build("kernel:debian", "image:base")
    folder = project / "workspace" / "cache" / "apt"
    # What another process is fetching at the moment is in `partial`.
    ignored = shutil.ignore_patterns("partial", "lock*")
    shutil.copytree(WORKSPACE / "cache" / "apt", folder, symlinks=True, ignore=ignored)
    return project


def processes_of(name: str) -> list[str]:
    """Command lines of live processes that work in a cluster's directory."""
    return processes_with(f"/run/{name}/")


def processes_with(words: str) -> list[str]:
    """Command lines of live processes with these words in them."""
    commands = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            command = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in command:
            commands.append(command)
    return commands


def assert_nothing_left(name: str) -> None:
    """After a stop there is no process and no file of the cluster."""
    assert processes_of(name) == []
    left = [path for path in (WORKSPACE / "run").glob(f"{name}*")] if (WORKSPACE / "run").is_dir() else []
    assert left == []


def interrupt(process: "subprocess.Popen[str]", sign: signal.Signals) -> tuple[int, str]:
    """Send a signal to a verb and wait: its exit code and stderr."""
    os.kill(process.pid, sign)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def running(name: str, words: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A started cluster for a fixture; it is stopped, and has to leave nothing."""
    cluster = Cluster(name, env or {})
    try:
        assert "failed in the guest" not in cluster.xc("starts", *words).stderr
        yield cluster
    finally:
        cluster.xc("stop")
    assert_nothing_left(name)


@pytest.fixture(scope="session")
def base() -> Iterator[Cluster]:
    """Two nodes, two routers and a tester on the default kernel."""
    yield from running("t-base", ["--nvm=2", "--nrouters=2", "--ntesters=1", "--net=userspace"])


def clusters() -> set[str]:
    """The tests' clusters that run in the workspace."""
    return {path.parent.name for path in (WORKSPACE / "run").glob("t-*/cluster.json")}


@pytest.fixture(autouse=True)
def stopped(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a failed test leaves running must not hold up the next ones.

    Tests that run beside these (tests/conftest.py) start none here: those that appear are another process's.
    """
    before = clusters()
    yield
    if not is_beside(request.node.nodeid):
        for name in clusters() - before:
            Cluster(name).xc("stop", ok=False)
