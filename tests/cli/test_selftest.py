"""The words of `xc test`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cli import selftest
from tests.conftest import BESIDE, MACHINES, ROOT


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ([], ["--numprocesses=2"]),
        (["-k", "overlays"], ["-k", "overlays"]),
        (["overlays"], ["tests/overlays"]),
        (["overlays", "-k", "frr"], ["tests/overlays", "-k", "frr"]),
        (["quick", "--maxfail=1"], ["--numprocesses=2", "-m", "not boot", "--maxfail=1"]),
        (["tests/cli/test_cli.py"], ["tests/cli/test_cli.py"]),
    ],
)
def test_the_first_word_may_name_a_set_of_tests(words: list[str], arguments: list[str]) -> None:
    assert selftest.pytest_words(words) == arguments


def collected(*words: str) -> set[str]:
    """The files of tests that a set has."""
    arguments = [word for word in selftest.pytest_words(words) if not word.startswith("--numprocesses")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "--quiet",
        "-p",
        "no:cacheprovider",
        *arguments,
    ]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {line.partition("::")[0] for line in listing.splitlines() if "::" in line}


def files(*folders: str) -> set[str]:
    """The files with tests below these folders."""
    places = [ROOT / "tests" / folder for folder in folders]
    paths = [path for place in places for path in (*place.rglob("test_*.py"), place) if path.is_file()]
    return {str(path.relative_to(ROOT)) for path in paths}


def test_every_test_is_in_a_set() -> None:
    """What a run without words leaves out is in a set of its own; `all` is all, tests/build too."""
    long = files(*(Path(folder).name for folder in selftest.LONG))
    assert collected("all") == files(".")
    assert collected() | long == files(".")


def test_what_is_quick_boots_nothing() -> None:
    assert collected("quick") == files(".") - files(*MACHINES)


def test_what_runs_beside_the_clusters_is_there() -> None:
    assert [path for path in BESIDE if not (ROOT / path).is_file()] == []


def test_docs_say_what_each_set_is() -> None:
    text = (ROOT / "docs/testing.md").read_text()
    assert [name for name in selftest.SETS if f"`./xc test {name}`" not in text] == []
