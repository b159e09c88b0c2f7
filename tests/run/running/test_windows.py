"""Windows for consoles and logins: where they are placed, and that those which do not open are told."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.base import proc
from tasks.base.errors import UsageError
from tasks.base.paths import NodeDir
from tasks.run.running import raster, windows
from tasks.run.running.raster import Raster
from tests.conftest import Fakes, eventually


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeDir:
    """The directory of a node, and a display."""
    monkeypatch.setenv("DISPLAY", ":77")
    for name in (*raster.VARIABLES, *windows.OPTIONS):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "c/vm-001").mkdir(parents=True)
    return NodeDir(tmp_path / "c/vm-001")


def opened(own: NodeDir) -> proc.Process:
    """A window that runs `true`."""
    return windows._opened(own, "vm-001", ["true"], [], {})


def test_a_display_that_is_gone(own: NodeDir, fakes: Fakes) -> None:
    fakes.program("xterm", 'echo "xterm: Xt error: Can\'t open display: $DISPLAY" >&2; exit 1')
    process = opened(own)
    eventually(lambda: process.poll() is not None)
    reason = windows.without([(own, process)])
    assert reason and "no window on DISPLAY=:77" in reason and "Can't open display: :77" in reason


def test_a_window_that_opens(own: NodeDir, fakes: Fakes) -> None:
    fakes.program("xterm", "exec sleep 30")
    process = opened(own)
    try:
        assert windows.without([(own, process)]) is None
    finally:
        process.kill()
        process.wait()


def test_a_window_that_was_closed_at_once(own: NodeDir, fakes: Fakes) -> None:
    fakes.program("xterm", "exit 0")
    process = opened(own)
    eventually(lambda: process.poll() == 0)
    assert windows.without([(own, process)]) is None


def test_options_of_the_user_come_last(own: NodeDir, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.program("xterm", f"""printf '%s\\n' "$@" >{own.root}/words""")
    monkeypatch.setenv("xtermopt", "-fn '9x15 bold' -geometry 9x9+0+0")
    monkeypatch.setenv("xopt", "-bg black")
    opened(own).wait()
    words = (own.root / "words").read_text().splitlines()
    assert words[-8:] == ["-bg", "black", "-fn", "9x15 bold", "-geometry", "9x9+0+0", "-e", "true"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("XCLUSTER_LAYOUT", "dx=wide;dy=220", "XCLUSTER_LAYOUT: dx=wide is no measure such as dx=550"),
        ("XCLUSTER_LAYOUT", "sz=80", "sz=80 is no measure such as sz=80x12"),
        ("XCLUSTER_LAYOUT", "rows=0", "rows=0"),
        ("XCLUSTER_OFFSET", "xo=1;yo=", "XCLUSTER_OFFSET: yo= is no measure"),
        ("xtermopt", "-fn '9x15", "xtermopt: No closing quotation"),
    ],
)
def test_a_wrong_variable_is_told_before_anything_starts(
    own: NodeDir, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    fakes.program("xterm", "exit 0")
    windows.check()
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=text):
        windows.check()
    monkeypatch.delenv("DISPLAY")
    windows.check()  # no window would open


@pytest.mark.parametrize(
    ("variables", "cell", "geometry"),
    [
        ({}, (1, 1), "80x12+20+50"),
        ({}, (2, 3), "80x12+570+490"),
        (
            {"XCLUSTER_LAYOUT": "dx=500;dy=100;sz=70x9", "XCLUSTER_OFFSET": "xo=0;yo=0"},
            (2, 2),
            "70x9+500+100",
        ),
        ({"XCLUSTER_LAYOUT": "dx='600' dy=300"}, (2, 2), "80x12+620+350"),
        ({"XCLUSTER_LAYOUT": "other=5;;sz=9x9"}, (1, 1), "9x9+20+50"),
    ],
)
def test_the_place_of_a_cell(variables: dict[str, str], cell: raster.Cell, geometry: str) -> None:
    assert Raster.of(variables).geometry(cell) == geometry


VM, ROUTER, TESTER, LOGIN = "vm", "router", "tester", windows.LOGIN


@pytest.mark.parametrize(
    ("taken", "roles", "cells"),
    [
        ({}, [VM] * 2 + [ROUTER] + [TESTER], [(1, 1), (1, 2), (2, 1), (3, 1)]),
        ({}, [VM] * 5 + [ROUTER], [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (3, 1)]),
        ({(1, 1): VM, (2, 1): ROUTER}, [VM, VM, ROUTER], [(1, 2), (1, 3), (2, 2)]),
        ({(1, n): VM for n in (1, 2, 3, 4)} | {(2, 1): ROUTER}, [VM, VM, TESTER], [(3, 1), (3, 2), (4, 1)]),
        ({(1, 1): VM, (2, 1): ROUTER, (3, 1): LOGIN}, [LOGIN, TESTER, VM], [(3, 2), (4, 1), (1, 2)]),
        ({(1, 2): VM}, [VM], [(1, 1)]),  # one that was closed leaves its place
    ],
)
def test_each_role_has_columns_of_its_own(
    taken: dict[raster.Cell, str], roles: Sequence[str], cells: list[raster.Cell]
) -> None:
    assert list(raster.places(taken, roles, 4)) == cells
