"""Every row that needs no machine, tried as a user would: one line in a shell, in a checkout of its own."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import Checkout
from tests.faults.case import Bench, Case, answered, on_bench

FOLDER = Path(__file__).parent


def tables(prefix: str) -> list[Case]:
    """All rows of the modules whose name begins so: each has a list CASES."""
    names = sorted(path.stem for path in FOLDER.glob(f"{prefix}_*.py"))
    return [case for name in names for case in import_module(f"tests.faults.{name}").CASES]


ROWS = tables("quick")


@pytest.fixture
def bench(checkout: Checkout, tmp_path: Path) -> Iterator[Bench]:
    """A checkout with two overlays, and a directory beside it."""
    yield from on_bench(checkout, tmp_path)


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_fault(bench: Bench, case: Case) -> None:
    answered(case, bench)


def test_every_row_has_a_name_of_its_own() -> None:
    names = [case.name for case in ROWS + tables("machine")]
    assert len(names) == len(set(names))
