"""The words of `xc test`."""

import pytest

from tasks.cli import selftest
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], ["--numprocesses=2"]),
        (["-k", "overlays"], ["-k", "overlays"]),
        (["overlays"], ["tests/overlays"]),
        (["overlays", "-k", "frr"], ["tests/overlays", "-k", "frr"]),
        (["tests/cli/test_cli.py"], ["tests/cli/test_cli.py"]),
    ],
)
def test_the_first_word_may_name_a_set_of_tests(words: list[str], told: list[str]) -> None:
    assert selftest.pytest_words(words) == told


def test_sets_are_there() -> None:
    assert all(list((ROOT / path).glob("test_*.py")) for path in selftest.SETS.values())
