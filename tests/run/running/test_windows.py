"""Windows for consoles and logins: those that do not open are told."""

from pathlib import Path

import pytest

from tasks.base.paths import NodeDir
from tasks.run.running import reach
from tests.conftest import Fakes, eventually


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeDir:
    """The directory of a node, and a display."""
    monkeypatch.setenv("DISPLAY", ":77")
    (tmp_path / "c/vm-001").mkdir(parents=True)
    return NodeDir(tmp_path / "c/vm-001")


def test_a_display_that_is_gone(own: NodeDir, fakes: Fakes) -> None:
    fakes.program("xterm", 'echo "xterm: Xt error: Can\'t open display: $DISPLAY" >&2; exit 1')
    process = reach.window(own, "vm-001", ["true"], "#ffffff")
    reason = reach.without_windows([(own, process)])
    assert reason and "no window on DISPLAY=:77" in reason and "Can't open display: :77" in reason


def test_a_window_that_opens(own: NodeDir, fakes: Fakes) -> None:
    fakes.program("xterm", "exec sleep 30")
    process = reach.window(own, "vm-001", ["true"], "#ffffff")
    try:
        assert reach.without_windows([(own, process)]) is None
    finally:
        process.kill()
        process.wait()


def test_a_window_that_was_closed_at_once(own: NodeDir, fakes: Fakes) -> None:
    fakes.program("xterm", "exit 0")
    process = reach.window(own, "vm-001", ["true"], "#ffffff")
    eventually(lambda: process.poll() == 0)
    assert reach.without_windows([(own, process)]) is None
