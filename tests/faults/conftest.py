"""Rows that need machines are for a run that names this folder."""

from pathlib import Path

import pytest

from tests.conftest import is_named

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`test_machine.py` is for a run that names it, or this folder."""
    return True if collection_path.name == "test_machine.py" and not is_named(HERE, config) else None
