"""How a helper is started: recorded, waited for, and gone without a trace when it does not come up."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.base import helper, process_facts, records
from tasks.base.errors import UserError
from tasks.base.helper import Helper
from tasks.base.records import ProcessRecord

READY = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"


def program(folder: Path, code: str, *words: str) -> Helper:
    """A helper that is a line of Python."""
    argv = [sys.executable, "-I", "-c", code, *words]
    return Helper(
        "the thing did not start", argv, folder / "thing.json", folder / "thing.log", folder / "own"
    )


def begun(folder: Path) -> Callable[[int], bool]:
    """Whether the program has made its file."""
    return lambda _: (folder / "ready").exists()


def test_a_helper_is_recorded_and_marked(tmp_path: Path) -> None:
    thing = program(tmp_path, READY, str(tmp_path / "ready"))
    record = helper.start(thing, begun(tmp_path), ProcessRecord.at)
    try:
        assert records.read(thing.state, ProcessRecord) == record
        assert records.process(thing.state) == record.pid
        marked = Path(f"/proc/{record.pid}/environ").read_bytes().split(b"\0")
        assert f"{helper.MARK}={tmp_path / 'own'}".encode() in marked
        assert os.getpgid(record.pid) != os.getpgid(0), "Ctrl-C at the terminal is not for it"
    finally:
        records.end(thing.state)
    assert process_facts.started_at(record.pid) is None


def test_it_is_recorded_before_it_is_ready(tmp_path: Path) -> None:
    thing = program(tmp_path, "import time; time.sleep(600)")
    seen: list[int | None] = []

    def ready(pid: int) -> bool:
        seen.append(records.process(thing.state))
        return True

    record = helper.start(thing, ready, ProcessRecord.at)
    records.end(thing.state)
    assert seen == [record.pid]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "print('one'); print('two'); print('three'); print('four'); raise SystemExit(1)",
            "two; three; four",
        ),
        ("raise SystemExit(0)", "it said nothing"),
        ("import sys; sys.stdout.buffer.write(b'\\xff bad\\n')", "\ufffd bad"),
    ],
)
def test_one_that_ends_too_early_leaves_only_its_log(tmp_path: Path, code: str, says: str) -> None:
    thing = program(tmp_path, code)
    undone: list[bool] = []
    with pytest.raises(UserError, match=f"the thing did not start: {says}"):
        helper.start(thing, begun(tmp_path), ProcessRecord.at, undo=lambda: undone.append(True))
    assert [path.name for path in tmp_path.iterdir()] == ["thing.log"]
    assert undone == [True]


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    thing = program(tmp_path, "import time; print('I am slow', flush=True); time.sleep(600)")
    pids: list[int] = []

    def ready(pid: int) -> bool:
        pids.append(pid)
        return False

    with pytest.raises(UserError, match="the thing did not start: "):
        helper.start(thing, ready, ProcessRecord.at, patience=0.3)
    assert process_facts.started_at(pids[0]) is None
    assert not thing.state.exists()


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    thing = program(tmp_path, "import time; time.sleep(600)")
    pids: list[int] = []

    def ready(pid: int) -> bool:
        if not pids:
            pids.append(pid)
            timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
            timer.start()
        time.sleep(0.01)
        return False

    with pytest.raises(KeyboardInterrupt):
        helper.start(thing, ready, ProcessRecord.at)
    assert process_facts.started_at(pids[0]) is None
    assert not thing.state.exists()


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    thing = Helper("it did not start", ["no-such-program"], tmp_path / "s", tmp_path / "l")
    with pytest.raises(UserError, match="no-such-program"):
        helper.start(thing, begun(tmp_path), ProcessRecord.at)
    assert not thing.state.exists()
