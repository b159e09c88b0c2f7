"""What makes a task run again: how files are compared, and how the values that a recipe takes are."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from doit.dependency import MD5Checker
from pydantic import BaseModel

from tasks.base import files, progress, seals
from tasks.base.paths import Workspace
from tasks.project.site import Site

LARGE = 8 << 20  # bytes; a larger file is checked by size and time


class SizedChecker(MD5Checker):  # type: ignore[misc]
    """Small files by content, large ones by size and modification time."""

    def check_modified(self, file_path: str, file_stat: os.stat_result, state: Any) -> bool:
        """Whether the file differs from what was recorded."""
        if not _is_readable(file_path):
            return True  # who reads it says what is wrong
        if file_stat.st_size <= LARGE:
            return bool(super().check_modified(file_path, file_stat, state))
        return bool(tuple(state) != (file_stat.st_mtime, file_stat.st_size, "large"))

    def get_state(self, dep: str, current_state: Any) -> Any:
        """What to record of a file; None when it is as recorded."""
        if not _is_readable(dep):
            return None
        stat = os.stat(dep)
        if stat.st_size <= LARGE:
            return super().get_state(dep, current_state)
        state = (stat.st_mtime, stat.st_size, "large")
        return None if current_state and tuple(current_state) == state else state


def _is_readable(path: str) -> bool:
    """Whether it is a file that can be read; a pipe would never be read out."""
    return os.path.isfile(path) and os.access(path, os.R_OK)


class Encoder(json.JSONEncoder):
    """Definitions and paths as JSON, for the digest that says whether a task's inputs changed."""

    def default(self, value: Any) -> Any:
        """Anything json does not know."""
        if isinstance(value, (Site, Workspace)) or getattr(value, "NO_INPUT", False):
            return None  # where a thing is built does not change it
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.asdict(value)
        return str(value)


class Sealed:
    """The files that a task made are sealed when it ends well; a broken seal makes it run again.

    Stamps (JSON) are rewritten when what is known of an artifact changes, so they need only be readable.
    `keeps` gives further files that the task vouches for, besides its targets.
    """

    def __init__(self, folder: Path, targets: Sequence[str], keeps: Callable[[], Iterable[Path]]) -> None:
        self._folder = folder
        self._targets = [Path(target) for target in targets]
        self._keeps = keeps

    def configure_task(self, task: Any) -> None:
        """Called by doit: what is to be done when the task has ended well."""
        task.value_savers.append(self._seal)

    def __call__(self, task: Any, values: Mapping[str, Any]) -> bool:
        """Called by doit: whether all is as it was. Says which file is not."""
        faults = {path: "is damaged" for path in self._targets if _is_unreadable(path)}
        # A target that is not there was cleaned: doit itself sees that.
        present = [path for path in self._files() if path.exists() or path not in self._targets]
        faults |= {path: why for path in present if (why := seals.fault(self._folder, path))}
        faults |= {path: f"is {kind}, not a file" for path in self._targets if (kind := files.odd_kind(path))}
        for path, why in faults.items():
            progress.say(f"{path} {why}; {task.name} makes it again")
        return not faults

    def clear(self) -> None:
        """Remove what stands in the place of a target and is no file; only below the workspace."""
        for path in self._targets:
            if files.odd_kind(path) and self._folder.parent in path.parents:
                files.remove(path)

    def _files(self) -> list[Path]:
        outputs = [path for path in self._targets if path.suffix != ".json"]
        return list(dict.fromkeys((*outputs, *self._keeps())))

    def _seal(self) -> dict[str, Any]:
        for path in filter(Path.is_file, self._files()):
            seals.seal(self._folder, path)
        return {}


def _is_unreadable(stamp: Path) -> bool:
    return stamp.suffix == ".json" and stamp.is_file() and not files.read_json(stamp)
