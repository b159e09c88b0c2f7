"""Long compilations: for a run that names them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.boot.conftest import stopped
from tests.conftest import is_named

__all__ = ["stopped"]  # a fixture for every test here

HERE = Path(__file__).parent
LONG = 3000  # seconds a test may take, with the compilation


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """These are for a run that names them."""
    return True if collection_path.name.startswith("test_") and not is_named(HERE, config) else None


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """All of these boot virtual machines, and take their time."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.boot)
            item.add_marker(pytest.mark.timeout(LONG))
