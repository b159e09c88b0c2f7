"""Does KVM work? A QEMU that only pretends says so, or not."""

from pathlib import Path

import pytest

from tasks.base.paths import Workspace
from tasks.run.node import accel
from tasks.run.node.accel import Verdict
from tests.conftest import Fakes


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace of its own."""
    return Workspace(tmp_path)


@pytest.fixture
def no_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without /dev/kvm."""
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: False if str(self) == "/dev/kvm" else exists(self))


@pytest.fixture
def some_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a /dev/kvm that can be opened."""
    exists, opened = Path.exists, Path.open
    monkeypatch.setattr(Path, "exists", lambda self: True if str(self) == "/dev/kvm" else exists(self))
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, *a, **kw: opened(Path("/dev/null") if str(self) == "/dev/kvm" else self, *a, **kw),
    )


@pytest.mark.parametrize("choice", ["kvm", "tcg"])
def test_what_is_asked_for_is_taken(workspace: Workspace, choice: str) -> None:
    assert accel.choose(choice, workspace, Path("/k")) == Verdict(choice, "as asked for")
    assert not workspace.accel.exists()


@pytest.mark.usefixtures("no_kvm")
def test_no_device(workspace: Workspace) -> None:
    assert accel.choose("auto", workspace, Path("/k")) == Verdict("tcg", "there is no /dev/kvm")


@pytest.mark.usefixtures("some_kvm")
def test_a_probe_that_comes_up(workspace: Workspace, fakes: Fakes) -> None:
    fakes.program("qemu-system-x86_64", f"echo '{accel.MARK.decode()}'")
    assert accel.choose("auto", workspace, Path("/k")).accel == "kvm"
    assert accel.choose("auto", workspace, Path("/k")).accel == "kvm"
    (call,) = fakes.calls("qemu-system-x86_64")
    assert "-accel kvm" in call and "-kernel /k" in call


@pytest.mark.usefixtures("some_kvm")
@pytest.mark.parametrize(("script", "says"), [("exit 1", "did not come up"), ("kill -6 $$", "signal 6")])
def test_a_probe_that_fails_says_why(workspace: Workspace, fakes: Fakes, script: str, says: str) -> None:
    fakes.program("qemu-system-x86_64", script)
    verdict = accel.choose("auto", workspace, Path("/k"))
    assert verdict.accel == "tcg" and says in verdict.why


@pytest.mark.usefixtures("some_kvm")
def test_a_probe_that_hangs_is_ended(
    workspace: Workspace, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accel, "SECONDS", 0.3)
    fakes.program("qemu-system-x86_64", "exec sleep 29.3")
    verdict = accel.choose("auto", workspace, Path("/k"))
    assert verdict.accel == "tcg" and "did not come up" in verdict.why
    assert not any(
        path.read_bytes() == b"sleep\x0029.3\0"
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists()
    )


def test_the_verdict_holds_until_the_host_boots_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accel, "without_kvm", lambda: None)
    monkeypatch.setattr(accel, "probe", lambda *_: Verdict("tcg", "probed once"))
    assert accel.recall(workspace) is None
    verdict = accel.choose("auto", workspace, Path("/k"))
    monkeypatch.setattr(accel, "probe", lambda *_: Verdict("kvm", "probed again"))
    assert accel.recall(workspace) == verdict == accel.choose("auto", workspace, Path("/k"))
    monkeypatch.setattr(accel, "boot_id", lambda: "another boot")
    assert accel.recall(workspace) is None
    assert accel.choose("auto", workspace, Path("/k")).why == "probed again"


@pytest.mark.usefixtures("no_kvm")
def test_a_device_that_is_not_there_is_looked_for_each_time(workspace: Workspace) -> None:
    assert accel.choose("auto", workspace, Path("/k")) == Verdict("tcg", "there is no /dev/kvm")
    assert accel.recall(workspace) is None


def test_a_damaged_verdict_is_none(workspace: Workspace) -> None:
    workspace.accel.write_text("{")
    assert accel.recall(workspace) is None
