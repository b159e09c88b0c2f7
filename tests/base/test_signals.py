"""Signals end a run in order: what is begun is undone, one line is told, and the exit code is 128+n."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.base import locks, signals
from tests.conftest import ROOT, eventually

HEAD = """
import contextlib, os, pathlib, subprocess, sys, threading, time
from tasks.base import files, locks, output, proc, signals
signals.install(output.last_line)
here = pathlib.Path(sys.argv[1])
def main():
"""
TAIL = """
    return 0
sys.exit(signals.ending(main))
"""
SIGNS = list(signals.TEXTS)


def started(folder: Path, body: str, *prefix: str) -> "subprocess.Popen[str]":
    """A program whose main function is `body`; it has made the file `ready` when this returns."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", HEAD + lines + TAIL, str(folder)], text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    eventually(lambda: (folder / "ready").exists() or process.poll() is not None)
    return process


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code and stderr."""
    errors = process.communicate(timeout=30)[1]
    return process.returncode, errors


@pytest.mark.parametrize("sign", SIGNS)
def test_what_is_half_made_is_removed(tmp_path: Path, sign: signal.Signals) -> None:
    body = """
with locks.locked(here / "lock"), files.atomic(here / "file") as temp:
    temp.write_text("half")
    (here / "ready").touch()
    time.sleep(60)
"""
    process = started(tmp_path, body)
    process.send_signal(sign)
    assert ended(process) == (128 + sign, f"{signals.TEXTS[sign]}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]


def test_a_function_that_is_whole_comes_to_its_end(tmp_path: Path) -> None:
    body = """
@signals.whole
def clean_up():
    (here / "ready").touch()
    time.sleep(0.5)
    (here / "clean").touch()
clean_up()
time.sleep(60)
(here / "more").touch()
"""
    process = started(tmp_path, body)
    process.terminate()
    assert ended(process)[0] == 143
    assert {path.name for path in tmp_path.iterdir()} == {"ready", "clean"}


def test_a_second_signal_does_not_disturb_the_end(tmp_path: Path) -> None:
    body = """
try:
    (here / "ready").touch()
    time.sleep(60)
finally:
    (here / "ending").touch()
    time.sleep(0.5)
    (here / "clean").touch()
"""
    process = started(tmp_path, body)
    process.terminate()
    eventually(lambda: (tmp_path / "ending").exists())
    for sign in SIGNS:
        process.send_signal(sign)
    assert ended(process) == (143, "ended by SIGTERM\n")
    assert (tmp_path / "clean").exists()


def test_programs_in_other_threads_are_not_waited_for(tmp_path: Path) -> None:
    body = """
from concurrent.futures import ThreadPoolExecutor
def one(number):
    (here / "ready").touch()
    proc.run(["sleep", "61.5"])
with ThreadPoolExecutor(2) as pool:
    list(pool.map(one, range(6)))
"""
    process = started(tmp_path, body)
    time.sleep(0.1)
    began = time.monotonic()
    process.send_signal(signal.SIGHUP)
    assert ended(process) == (129, "ended by SIGHUP\n")
    assert time.monotonic() - began < 10


def test_an_event_loop_is_left_in_order(tmp_path: Path) -> None:
    body = """
import asyncio
async def one():
    try:
        (here / "ready").touch()
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.1)
        (here / "clean").touch()
async def both():
    await asyncio.gather(one(), one())
signals.run(both())
"""
    process = started(tmp_path, body)
    process.send_signal(signal.SIGQUIT)
    assert ended(process) == (131, "ended by SIGQUIT\n")
    assert (tmp_path / "clean").exists()


def test_one_that_nobody_can_catch_is_raised_again(tmp_path: Path) -> None:
    body = """
import weakref
class Thing: pass
def gone(_):
    (here / "ready").touch()
    time.sleep(0.5)
thing = Thing()
reference = weakref.ref(thing, gone)
del thing
time.sleep(60)
"""
    process = started(tmp_path, body)
    process.terminate()
    assert ended(process) == (143, "ended by SIGTERM\n")


def test_what_the_caller_ignores_stays_ignored(tmp_path: Path) -> None:
    body = """
(here / "ready").touch()
while not (here / "go").exists():
    time.sleep(0.01)
"""
    process = started(tmp_path, body, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    (tmp_path / "go").touch()
    assert ended(process)[0] == 0


def test_a_wait_for_a_lock_can_be_left(tmp_path: Path) -> None:
    body = """
(here / "ready").touch()
with locks.locked(here / "lock"):
    (here / "locked").touch()
"""

    with locks.locked(tmp_path / "lock"):
        process = started(tmp_path, body)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert ended(process) == (130, "interrupted\n")
    assert not (tmp_path / "locked").exists()


def test_a_group_gets_it_at_once(tmp_path: Path) -> None:
    """Ctrl-C in a terminal is for all programs of the group; what failed by it is not told."""
    body = """
(here / "ready").touch()
proc.run(["sh", "-c", "sleep 60"])
"""
    process = started(tmp_path, body)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    assert ended(process) == (130, "interrupted\n")
