"""The words of `xc test`."""

import subprocess
import sys

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
        (["quick", "--maxfail=1"], ["--numprocesses=2", "-m", "not boot", "--maxfail=1"]),
        (["tests/cli/test_cli.py"], ["tests/cli/test_cli.py"]),
    ],
)
def test_the_first_word_may_name_a_set_of_tests(words: list[str], told: list[str]) -> None:
    assert selftest.pytest_words(words) == told


def collected(*words: str) -> set[str]:
    """The files of tests that a set has."""
    told = [word for word in selftest.pytest_words(words) if not word.startswith("--numprocesses")]
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", *told]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {line.partition("::")[0] for line in said.splitlines() if "::" in line}


def files(*folders: str) -> set[str]:
    """The files with tests below these folders."""
    paths = [path for folder in folders for path in (ROOT / "tests" / folder).rglob("test_*.py")]
    return {str(path.relative_to(ROOT)) for path in paths}


def test_every_test_is_in_a_set() -> None:
    """What a run without words leaves out is in a set of its own; `all` is all."""
    ci, everything = collected(), collected("all")
    assert everything == files(".")
    long = collected("overlays") | collected("kernels") | collected("k8s")
    assert long == files("overlays", "kernels", "k8s")
    assert ci | long == everything


def test_what_is_quick_boots_nothing() -> None:
    assert collected("quick") == files(".") - files("boot", "overlays", "kernels", "k8s")


def test_docs_say_what_each_set_is() -> None:
    text = (ROOT / "docs/testing.md").read_text()
    assert [name for name in selftest.SETS if f"`./xc test {name}`" not in text] == []
