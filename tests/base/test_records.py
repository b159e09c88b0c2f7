"""Typed files of what runs: read whole or told what is wrong; the process in them counts in any case."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import records
from tasks.base.records import Damaged, Mark, ProcessRecord, Record


class Door(Record):
    """An example."""

    name: str
    width: int
    panes: tuple[str, ...] = ()


GOOD = {"format": 1, "name": "front", "width": 80, "panes": ["a", "b"]}
DAMAGED = {
    "": "it is empty",
    " \n": "it is empty",
    "{": "not a JSON object",
    "[]": "not a JSON object",
    "3": "not a JSON object",
    "null": "not a JSON object",
    "\x00\x01": "not a JSON object",
    "[" * 100_000: "not a JSON object",
    json.dumps({**GOOD, "width": "80"}): "width: input should be a valid integer",
    json.dumps({**GOOD, "width": None}): "width: ",
    json.dumps({**GOOD, "panes": [1]}): "panes.0: ",
    json.dumps({**GOOD, "panes": "ab"}): "panes: ",
    json.dumps({"format": 1, "name": "front"}): "width: field required",
    json.dumps({**GOOD, "hinge": 1}): "hinge: ",
    json.dumps(
        {**GOOD, "format": 2}
    ): "another version of this program wrote it (format 2, this one reads 1)",
    json.dumps({**GOOD, "format": "new"}): "another version",
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    records.write(tmp_path / "f", Door(name="front", width=80, panes=("a", "b")))
    assert json.loads((tmp_path / "f").read_text()) == GOOD
    assert records.read(tmp_path / "f", Door) == Door(name="front", width=80, panes=("a", "b"))


def test_a_file_without_a_number_is_of_the_first_version(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"name": "x", "width": 1}')
    assert records.read(tmp_path / "f", Door).width == 1


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "f"
    path.write_text(text)
    with pytest.raises(Damaged) as caught:
        records.read(path, Door, "do this")
    assert str(path) in str(caught.value) and "do this" in str(caught.value)
    assert DAMAGED[text] in caught.value.why
    assert records.intact(path, Door) is None
    with pytest.raises(Damaged):
        records.read_if_there(path, Door)


def test_other_damages(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="it is missing"):
        records.read(tmp_path / "none", Door)
    assert records.read_if_there(tmp_path / "none", Door) is None
    (tmp_path / "folder").mkdir()
    with pytest.raises(Damaged, match="cannot be read"):
        records.read(tmp_path / "folder", Door)
    (tmp_path / "bytes").write_bytes(b'{"name": "\xff", "width": 1}')
    with pytest.raises(Damaged):
        records.read(tmp_path / "bytes", Door)


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process to be recorded."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("more", [{}, {"format": 99}, {"of": "another model"}, {"number": "x"}])
def test_a_process_is_known_whatever_else_is_in_the_file(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]", more: dict[str, object]
) -> None:
    mark = Mark.of(sleeper.pid)
    (tmp_path / "f").write_text(json.dumps({"pid": mark.pid, "start": mark.start, **more}))
    assert records.process(tmp_path / "f") == sleeper.pid
    records.end(tmp_path / "f")
    assert sleeper.wait(10) < 0


@pytest.mark.parametrize("start", [1, None])
def test_another_process_of_the_same_number_is_left_alone(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]", start: int | None
) -> None:
    records.write(tmp_path / "f", ProcessRecord(pid=sleeper.pid, start=start))
    assert records.process(tmp_path / "f") is None
    records.end(tmp_path / "f")
    assert sleeper.poll() is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"pid": 0, "start": 1}',
        '{"pid": -1, "start": 1}',
        '{"pid": "1"}',
        '{"pid": 1e3}',
    ],
)
def test_no_process_at_all(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_text(text)
    assert records.mark(tmp_path / "f") is None
    assert records.process(tmp_path / "f") is None
    records.end(tmp_path / "f")  # a pid of -1 would be every process


def test_a_mark_is_of_one_moment() -> None:
    mark = Mark.of(os.getpid())
    assert mark.running == os.getpid()
    assert Mark(pid=mark.pid, start=(mark.start or 0) + 1).running is None
