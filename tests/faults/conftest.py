"""Rows that need machines are for a run that names this folder."""

from pathlib import Path

import pytest

from tests.conftest import is_named

HERE = Path(__file__).parent
MACHINES = ("test_machine.py", "test_signals.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What needs machines is for a run that names it, or this folder."""
    return True if collection_path.name in MACHINES and not is_named(HERE, config) else None
