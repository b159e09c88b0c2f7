"""Signals at some moments of verbs that boot nothing; tests/faults/test_signals.py has those that do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tasks.base import signals
from tests.conftest import Checkout, ended, eventually, temporary

VERBS: Sequence[Sequence[str]] = (
    ("mkcdrom", "a", "b"),
    ("status",),
    ("info", "ovl:a"),
    ("list", "--all"),
    ("checkpoint", "list"),
    ("doctor", "--leftovers"),
)
POINTS = 2  # for each signal
SLOW = '#!/bin/sh\nsleep 31.41 &\ntouch "$MARK"\nwait\n'


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_at_some_moments(checkout: Checkout, words: Sequence[str]) -> None:
    """In time it ends the verb, with one line; too late it changes nothing."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", ""], check=True)
    bare = max(0.1, 4 * (time.monotonic() - began))  # a busy machine takes longer to start Python
    began = time.monotonic()
    code = ended(checkout.start(*words)).code
    seconds = time.monotonic() - began
    for index, sign in enumerate(sorted(signals.TEXTS) * POINTS):
        (checkout.workspace / "iso/xcluster.iso").unlink(missing_ok=True)
        process = checkout.start(*words)
        time.sleep(seconds * (index + 0.5) / (len(signals.TEXTS) * POINTS))
        process.send_signal(sign)
        ran = ended(process)
        endings = [line for line in ran.err.splitlines() if line in signals.TEXTS.values()]
        # Before Python runs any code of ours, INT makes it show a traceback: only `xc` keeps it from that.
        early = ran.code in (-sign, 1) and seconds * (index + 0.5) / 8 < bare
        if ran.code == 128 + sign:
            assert endings == [signals.TEXTS[sign]] and ran.clean, ran
        else:
            assert early or (ran.code == code and ran.clean and not endings), ran
        assert temporary(checkout.workspace) == []
    assert ended(checkout.start(*words)).code == code


@pytest.mark.parametrize("sign", signals.TEXTS, ids=lambda sign: sign.name)
def test_a_script_of_an_overlay_ends_with_us(
    checkout: Checkout, tmp_path: Path, sign: signal.Signals
) -> None:
    checkout.write("ovl/s/ovl.yaml", "summary: slow\n")
    checkout.write("ovl/s/tar", SLOW.replace("$MARK", str(tmp_path / "mark")), 0o755)
    process = checkout.start("mkcdrom", "s")
    eventually(lambda: (tmp_path / "mark").exists() or process.poll() is not None)
    process.send_signal(sign)
    ran = ended(process)
    assert ran.code == 128 + sign and ran.err.splitlines()[-1] == signals.TEXTS[sign], ran
    assert not running(lambda line: b"31.41" in line)
    assert not checkout.iso.exists() and temporary(checkout.workspace) == []


def running(matches: Callable[[bytes], bool]) -> bool:
    """Whether a process has such a command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if matches(path.read_bytes()):
                return True
        except OSError:
            continue
    return False


def test_the_terminal_is_closed(checkout: Checkout, tmp_path: Path) -> None:
    """All that is written from then on fails, and SIGHUP comes."""
    checkout.write("ovl/s/ovl.yaml", "summary: slow\n")
    checkout.write("ovl/s/tar", SLOW.replace("$MARK", str(tmp_path / "mark")), 0o755)
    ours, theirs = os.openpty()
    env = {**os.environ, "PYTHONPATH": str(checkout.root), "HOME": str(checkout.root / "home")}
    script = f"cd {checkout.root} && exec setsid --ctty {sys.executable} -m tasks mkcdrom s"
    process = subprocess.Popen(["sh", "-c", script], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    eventually(lambda: (tmp_path / "mark").exists() or process.poll() is not None)
    os.close(ours)
    assert process.wait(30) == 129
    assert not running(lambda line: b"31.41" in line)
    assert not checkout.iso.exists() and temporary(checkout.workspace) == []


def test_a_job_in_the_background_ignores_what_its_shell_ignores(checkout: Checkout, tmp_path: Path) -> None:
    checkout.write("ovl/s/ovl.yaml", "summary: slow\n")
    checkout.write("ovl/s/tar", f"#!/bin/sh\ntouch {tmp_path}/mark\nsleep 1\necho > x\ntar c x\n", 0o755)
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = checkout.start("mkcdrom", "s")
    finally:
        signal.signal(signal.SIGINT, previous)
    eventually(lambda: (tmp_path / "mark").exists() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    ran = ended(process)
    assert ran.clean and "interrupted" not in ran.err and ran.code in (0, 1), ran
