"""Long compilations: for a run that names them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.boot.conftest import stopped
from tests.conftest import is_left_out, take_long

__all__ = ["stopped"]  # a fixture for every test here

HERE = Path(__file__).parent
LONG = 3000  # seconds a test may take, with the compilation


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """These are for a run that names them."""
    return is_left_out(collection_path, HERE, config)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """All of these boot virtual machines, and take their time."""
    take_long(items, HERE, LONG)
