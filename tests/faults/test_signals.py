"""HUP, INT, TERM and QUIT at many moments of a verb: one line, exit code 128+n, and nothing half-made.

The moments are spread over the time that the verb takes here. $XCLUSTER_POINTS is their number for each verb
and signal. A signal may come too late: then the verb has done all that it does.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tasks.base import files, signals
from tests.boot.conftest import ROOT, WORKSPACE, Cluster, assert_nothing_left, processes_with, with_packages
from tests.boot.test_release import RELEASE, clone
from tests.conftest import Checkout, temporary
from tests.containers import front, hub, image, tar
from tests.faults.case import CRASH

pytestmark = [pytest.mark.boot, pytest.mark.timeout(7200)]
POINTS = int(os.environ.get("XCLUSTER_POINTS", "30"))
EARLY = 0.5  # seconds in which a busy host may not have loaded Python yet: the signal ends it by itself
CLUSTER, COPY = Cluster("t-signal"), Cluster("t-signal-2")
SMALL = ("--nrouters=0", "--dns=off")


each_sign = pytest.mark.parametrize("sign", signals.TEXTS, ids=lambda sign: sign.name)


def nothing() -> None:
    """Nothing has to be prepared, or looked at."""


@dataclass(frozen=True)
class Interrupted:
    """A verb. `before` makes what it needs, and undoes what it did; `after` finds nothing half-made."""

    words: Sequence[str]
    before: Callable[[], object] = nothing
    after: Callable[[], object] = nothing
    root: Path = ROOT
    workspace: Path = WORKSPACE
    door: Sequence[str] = field(default_factory=lambda: [str(ROOT / "xc")])
    env: dict[str, str] = field(default_factory=dict)

    def start(self) -> "subprocess.Popen[str]":
        """Begin it in a session of its own."""
        self.before()
        return subprocess.Popen(
            [*self.door, *self.words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.PIPE, cwd=self.root, env={**CLUSTER.environment, **self.env},
            start_new_session=True,
        )  # fmt: skip

    def whole(self) -> float:
        """Let it come to its end; the seconds that it took."""
        began = time.monotonic()
        process = self.start()
        _, errors = process.communicate(timeout=3000)
        assert process.returncode == 0, errors
        return time.monotonic() - began

    def at(self, seconds: float, sign: signal.Signals) -> str:
        """Send it a signal after so many seconds, and look at what came of it: in time, late or early."""
        process = self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.send_signal(sign)
        output, errors = process.communicate(timeout=300)
        shown = f"{sign.name} after {seconds:.2f} s: exit {process.returncode}\n{output}{errors}"
        assert not [word for word in CRASH if word in output + errors], shown
        endings = [line for line in errors.splitlines() if line in signals.TEXTS.values()]
        if process.returncode == 128 + sign:
            assert endings == [signals.TEXTS[sign]] and "error:" not in errors, shown
        else:
            early = process.returncode == -sign and seconds < EARLY
            assert (early or process.returncode == 0) and not endings, shown
        assert temporary(self.workspace) == [], shown
        try:
            self.after()
        except AssertionError as error:
            raise AssertionError(shown) from error
        return {0: "late", -sign: "early"}.get(process.returncode, "in time")


def at_all_moments(verb: Interrupted, sign: signal.Signals) -> None:
    """The signal at POINTS moments; after the last of them the verb works."""
    seconds = verb.whole()
    came = [verb.at(seconds * (point + 0.5) / POINTS, sign) for point in range(POINTS)]
    counts = ", ".join(f"{came.count(each)} {each}" for each in sorted(set(came)))
    print(f"{' '.join(verb.words)}: {sign.name}: {seconds:.2f} s, {POINTS} points: {counts}", file=sys.stderr)
    verb.whole()


def complete_or_nothing(cluster: Cluster, names: Sequence[str]) -> None:
    """Either all nodes of the cluster are there, or nothing of it."""
    state = cluster.status()
    if state is None:
        assert_nothing_left(cluster.name)
    else:
        assert not state["damaged"] and not state["dead"], state
        assert [node["name"] for node in state["nodes"] if node["state"] == "alive"] == list(names), state


@pytest.fixture
def cleared() -> Iterator[None]:
    """No cluster of these tests is left afterwards."""
    yield
    for cluster in (CLUSTER, COPY):
        cluster.xc("stop", ok=False)
        cluster.xc("checkpoint", "rm", "t-signal", ok=False)


@each_sign
@pytest.mark.usefixtures("cleared")
def test_start(sign: signal.Signals) -> None:
    """Each start replaces what the one before it has left, or nothing."""
    words = ("start", "--name=t-signal", "--nvm=2", *SMALL)
    at_all_moments(Interrupted(words, after=lambda: complete_or_nothing(CLUSTER, ["vm-001", "vm-002"])), sign)


@each_sign
@pytest.mark.usefixtures("cleared")
def test_scaleout(sign: signal.Signals) -> None:
    CLUSTER.xc("start", "--nvm=1", *SMALL)

    def without() -> None:
        if (CLUSTER.directory / "vm-002").exists():
            CLUSTER.xc("scalein", "2")

    def after() -> None:
        added = ["vm-002"] if (CLUSTER.directory / "vm-002").exists() else []
        complete_or_nothing(CLUSTER, ["vm-001", *added])
        assert added or not processes_with("/run/t-signal/vm-002/")
        CLUSTER.rsh(1, "true")

    at_all_moments(Interrupted(("scaleout", "--name=t-signal", "2"), without, after), sign)


def saved() -> bool:
    """Whether the checkpoint is in the list."""
    return "t-signal " in CLUSTER.xc("checkpoint", "list").stdout


@each_sign
@pytest.mark.usefixtures("cleared")
def test_checkpoint_save(sign: signal.Signals) -> None:
    CLUSTER.xc("start", "--nvm=2", *SMALL)

    def without() -> None:
        CLUSTER.xc("checkpoint", "rm", "t-signal", ok=False)

    def after() -> None:
        complete_or_nothing(CLUSTER, ["vm-001", "vm-002"])
        for number in (1, 2):
            assert CLUSTER.xc("rsh", str(number), "true", timeout=20).returncode == 0
        assert (WORKSPACE / "checkpoint/t-signal").exists() == saved()

    at_all_moments(Interrupted(("checkpoint", "--name=t-signal", "save", "t-signal"), without, after), sign)


@each_sign
@pytest.mark.usefixtures("cleared")
def test_checkpoint_restore(sign: signal.Signals) -> None:
    CLUSTER.xc("start", "--nvm=2", *SMALL)
    CLUSTER.xc("checkpoint", "save", "t-signal")

    def after() -> None:
        complete_or_nothing(COPY, ["vm-001", "vm-002"])
        assert saved()

    words = ("checkpoint", "restore", "t-signal", f"--as={COPY.name}")
    at_all_moments(Interrupted(words, after=after), sign)
    complete_or_nothing(CLUSTER, ["vm-001", "vm-002"])


@each_sign
def test_kernel(sign: signal.Signals) -> None:
    def without() -> None:
        for path in (WORKSPACE / "kernel/small", WORKSPACE / "kernel/small.json", WORKSPACE / "kbuild/small"):
            files.remove(path)

    def after() -> None:
        assert not processes_with("kbuild/small"), "the compilers have ended"
        assert (WORKSPACE / "kernel/small.json").exists() <= (WORKSPACE / "kernel/small/bzImage").exists()

    at_all_moments(Interrupted(("kernel:small",), without, after), sign)


@each_sign
def test_pull(sign: signal.Signals, checkout: Checkout, tmp_path: Path) -> None:
    with hub(tmp_path / "server") as registry, front(registry.port) as server:
        server.delay = 0.05
        registry.push("a/b:1", image(registry.layout, tar(("a", "x" * 400_000)), tar(("b", "y" * 400_000))))
        ref = f"127.0.0.1:{server.port}/a/b:1"
        checkout.write("ovl/a/ovl.yaml", f'images: ["{ref}"]\n')

        def without() -> None:
            shutil.rmtree(checkout.workspace, ignore_errors=True)

        verb = Interrupted(
            ("pull",), without, root=checkout.root, workspace=checkout.workspace,
            door=[sys.executable, "-m", "tasks"], env={"PYTHONPATH": str(checkout.root)},
        )  # fmt: skip
        at_all_moments(verb, sign)


@pytest.fixture(scope="module")
def shipping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout in which all that a release contains has been built."""
    project = with_packages(clone(tmp_path_factory.mktemp("signal") / "project"))
    (project / ".venv").symlink_to(ROOT / ".venv")
    yield project
    files.remove(project)


@each_sign
def test_release(sign: signal.Signals, shipping: Path) -> None:
    place = shipping / "workspace/release"

    def after() -> None:
        release = place / "1.0-t"
        assert not release.exists() or (release / "SHA256SUMS").exists()

    verb = Interrupted(
        RELEASE, lambda: files.remove(place), after, shipping, shipping / "workspace",
        [str(shipping / "xc")], {"XCLUSTER_WORKSPACE": ""},
    )  # fmt: skip
    at_all_moments(verb, sign)
