"""What makes a task run again: how files are compared, and how the values that a recipe takes are."""

import dataclasses
import json
import os
from typing import Any

from doit.dependency import MD5Checker
from pydantic import BaseModel

from tasks.base.paths import Workspace
from tasks.project.site import Site

LARGE = 8 << 20  # bytes; a larger file is checked by size and time


class SizedChecker(MD5Checker):  # type: ignore[misc]
    """Small files by content, large ones by size and modification time."""

    def check_modified(self, file_path: str, file_stat: os.stat_result, state: Any) -> bool:
        """Whether the file differs from what was recorded."""
        if not os.access(file_path, os.R_OK):
            return True  # who reads it says what is wrong
        if file_stat.st_size <= LARGE:
            return bool(super().check_modified(file_path, file_stat, state))
        return bool(tuple(state) != (file_stat.st_mtime, file_stat.st_size, "large"))

    def get_state(self, dep: str, current_state: Any) -> Any:
        """What to record of a file; None when it is as recorded."""
        if not os.access(dep, os.R_OK):
            return None
        stat = os.stat(dep)
        if stat.st_size <= LARGE:
            return super().get_state(dep, current_state)
        state = (stat.st_mtime, stat.st_size, "large")
        return None if current_state and tuple(current_state) == state else state


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
