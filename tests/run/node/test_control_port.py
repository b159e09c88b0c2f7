"""The words on the control port: what guests' scripts say and wait for is what the launcher knows."""

import re
from pathlib import Path

import pytest

from tasks.run.node import control_port
from tests.conftest import ROOT

SAY = re.compile(r"^\s*say \"?([a-z]+)(?: ([\w.]+))?", re.MULTILINE)
HEARD = re.compile(r"^\s*([a-z]+)\*\) break;;", re.MULTILINE)  # how a script ends to read


def scripts() -> list[Path]:
    """The scripts of guests that talk on the control port."""
    folders = [*ROOT.glob("images/*/rootfs"), *ROOT.glob("ovl/*/*")]
    paths = [
        path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    ]
    return [path for path in paths if b">&3" in path.read_bytes() and b"hvc" in path.read_bytes()]


def test_the_scripts_are_those_of_the_base_image() -> None:
    assert {path.name for path in scripts()} == {"init", "rcS"}


def test_guests_say_exactly_the_words_that_are_known() -> None:
    words = {word for path in scripts() for word, _ in SAY.findall(path.read_text())}
    assert words == set(control_port.FROM_GUEST)


def test_guests_wait_for_exactly_the_words_that_are_sent() -> None:
    heard = {word for path in scripts() for word in HEARD.findall(path.read_text())}
    assert heard == set(control_port.FROM_LAUNCHER)


def test_the_last_phase_and_the_version_are_those_of_the_scripts() -> None:
    pairs = [pair for path in scripts() for pair in SAY.findall(path.read_text())]
    assert (control_port.PHASE, control_port.READY) in pairs
    assert (control_port.HELLO, control_port.VERSION) in pairs
    assert (control_port.PHASE, control_port.START) not in pairs  # it is what is there before any


def test_lines() -> None:
    assert control_port.parse(b"phase rc\r") == control_port.Line("phase", "rc")
    assert control_port.parse(b"rc 10env.rc 3").result == ("10env.rc", "3")
    assert control_port.parse(b"overlay my overlay 0").result == ("my overlay", "0")
    assert str(control_port.parse(b" who\n")) == "who"
    assert control_port.parse(b"\xff\xfe").word == "\ufffd\ufffd"


def test_an_identity_is_what_the_scripts_read() -> None:
    assert (
        control_port.identity({"xc_node": "3", "xc_append": "a b"})
        == b"go\nxc_node=3\nxc_append='a b'\nend\n"
    )


@pytest.mark.parametrize(
    ("heard", "failed"),
    [
        (b"phase overlays\noverlay env 0\nwho\n", None),
        (b"overlay env 0\noverlay bad 12\noverlay worse 1\nwho\n", ("bad", 12)),
        (b"rc overlay 1\n", None),
        (b"", None),
    ],
)
def test_an_overlay_that_failed(heard: bytes, failed: tuple[str, int] | None) -> None:
    assert control_port.failed_overlay(heard) == failed
