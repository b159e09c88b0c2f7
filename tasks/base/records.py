"""Typed files in which something that runs keeps what it is. They appear whole, and have a version.

A file that is empty, no JSON, of other types or of another version is `Damaged`: an error for whoever needs
what is in it. Who only clears up reads with `intact`, and goes on without.
"""

import json
import os
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tasks.base import files, process_facts
from tasks.base.errors import UserError

OWNER = "XCLUSTER_RUNS_FOR"  # in the environment of a process: the directory of the cluster that it is for
FORMAT = 1  # of all these files together; files without a number are of the first


class Damaged(UserError):
    """A file of something that runs, which cannot be understood."""

    def __init__(self, path: Path, why: str, hint: str | None = None) -> None:
        super().__init__(f"{path} is damaged: {why}", hint)
        self.path = path
        self.why = why


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Record(_Value):
    """What one file holds."""

    format: int = FORMAT


class Mark(_Value):
    """A process, told from a later one of the same number by when it was started (clock ticks)."""

    pid: int = Field(gt=0, le=1 << 22)  # PID_MAX_LIMIT of Linux
    start: int | None = None

    @classmethod
    def of(cls, pid: int) -> Self:
        """The mark of a process that runs."""
        return cls(pid=pid, start=process_facts.started_at(pid))

    @property
    def running(self) -> int | None:
        """Its number if that very process still runs."""
        return (
            self.pid if self.start is not None and process_facts.started_at(self.pid) == self.start else None
        )

    def end(self, grace: float = 2.0) -> None:
        """End it, if it is still the one: SIGTERM, after `grace` seconds SIGKILL."""
        if self.start is not None:
            process_facts.kill(self.pid, self.start, grace)


class ProcessRecord(Mark, Record):
    """A file that holds a process, and in subclasses what it was started with."""

    @classmethod
    def at(cls, mark: Mark, **facts: Any) -> Self:
        """The record of a process that was just started."""
        return cls.model_validate({"pid": mark.pid, "start": mark.start, **facts})


R = TypeVar("R")


def read(path: Path, model: type[R], hint: str | None = None) -> R:
    """What the file holds. Raises Damaged, with `hint`, also when it is missing."""
    try:
        text = files.read_small(path)
    except FileNotFoundError:
        why = f"its link leads nowhere ({os.readlink(path)})" if path.is_symlink() else "it is missing"
        raise Damaged(path, why, hint) from None
    except OSError as error:
        raise Damaged(path, f"it cannot be read ({error.strerror})", hint) from error
    if not text.strip():
        raise Damaged(path, "it is empty", hint)
    try:
        version = json.loads(text).get("format", 1)
    except (ValueError, AttributeError, RecursionError):
        raise Damaged(path, "it is not a JSON object", hint) from None
    if version != FORMAT:
        why = f"another version of this program wrote it (format {version!r}, this one reads {FORMAT})"
        raise Damaged(path, why, hint)
    try:
        return TypeAdapter(model).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        why = f"{where + ': ' if where else ''}{first['msg'][0].lower()}{first['msg'][1:]}"
        raise Damaged(path, why, hint) from error


def read_if_there(path: Path, model: type[R], hint: str | None = None) -> R | None:
    """What the file holds; None when there is none. Raises Damaged."""
    return read(path, model, hint) if os.path.lexists(path) else None


def intact(path: Path, model: type[R]) -> R | None:
    """What the file holds; None when it is missing or damaged."""
    try:
        return read(path, model)
    except Damaged:
        return None


def write(path: Path, record: Record) -> None:
    """Write a record, atomically."""
    files.write_json(path, record.model_dump(mode="json"))


def mark(path: Path) -> Mark | None:
    """The process in a file of any kind; it counts whatever else is wrong with the file."""
    content = files.read_json(path)
    try:
        return Mark(pid=content.get("pid"), start=content.get("start"))  # type: ignore[arg-type]
    except ValidationError:
        return None


def process(path: Path) -> int | None:
    """The process in a file of any kind, if it runs and is this file's; None for a damaged file too."""
    process = mark(path)
    return process.running if process and is_of(process, path) else None


def end(path: Path) -> None:
    """End the process in a file of any kind; one that is missing or damaged has none.

    A file that was copied from another cluster names a process that is not its own: that one is spared.
    """
    process = mark(path)
    if process and is_of(process, path):
        process.end()


def is_of(process: Mark, path: Path) -> bool:
    """Whether a process is for what the file `path` is in, as far as its environment says what it is for.

    If there is nothing any more where that was, the directory has been moved here.
    """
    own = owner(process.pid)
    return own is None or not own.exists() or path.resolve().is_relative_to(own.resolve())


def owner(pid: int) -> Path | None:
    """What a process is for, as its environment says; None also when it has ended, or is another user's."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    prefix = f"{OWNER}=".encode()
    return next((Path(os.fsdecode(word[len(prefix) :])) for word in words if word.startswith(prefix)), None)
