"""Every row that needs a machine: with the repository's own artifacts, in a cluster named t-fault."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, WORKSPACE, Cluster, assert_nothing_left
from tests.conftest import Checkout
from tests.faults.case import Bench, Case, answered, on_bench
from tests.faults.test_quick import tables

pytestmark = [pytest.mark.boot, pytest.mark.timeout(600)]
NAME = "t-fault"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """The repository itself. `$xc` is the script; the cluster is stopped whatever came of the row."""
    for bench in on_bench(Checkout(ROOT), tmp_path):
        bench.xc, bench.has_cluster = str(ROOT / "xc"), True
        bench.env |= {"__name": NAME, "DISPLAY": "", "HOME": str(tmp_path)}
        yield bench
        Cluster(NAME).xc("stop", ok=False)
        shutil.rmtree(WORKSPACE / "run" / NAME, ignore_errors=True)


@pytest.mark.parametrize("case", tables("machine"), ids=lambda case: case.name)
def test_fault(bench: Bench, case: Case) -> None:
    answered(case, bench)
    Cluster(NAME).xc("stop")
    assert_nothing_left(NAME)
