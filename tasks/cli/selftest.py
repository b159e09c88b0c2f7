"""The verb `test`: every check of this project, as CI runs it."""

import os
import sys
from collections.abc import Mapping, Sequence

from tasks.base.errors import UsageError, UserError, unknown
from tasks.project.project import Does, Project

TWO = "--numprocesses=2"  # one of the processes has all tests that boot machines (tests/conftest.py)
# Left out of a run that does not name them.
LONG = ("tests/overlays", "tests/kernels", "tests/k8s", "tests/faults")
# What each set is to pytest; docs/testing.md says what it proves.
SETS: Mapping[str, Sequence[str]] = {
    "quick": (TWO, "-m", "not boot"),
    "overlays": LONG[:1],
    "kernels": LONG[1:2],
    "k8s": LONG[2:3],
    "faults": LONG[3:],
    "all": (TWO, "tests", *LONG),
}


def _test(project: Project) -> None:
    try:
        import pytest  # noqa: F401
    except ImportError as error:
        raise UserError("the test tools are not installed", "./xc test installs them") from error
    _check(project)
    os.chdir(project.root)
    sys.stdout.flush()
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *pytest_words(project.words.args)], own)


def _check(project: Project) -> None:
    """Raise UsageError if the first word is neither a set, nor an option, nor a path."""
    word = (project.words.args or ("-",))[0]
    path = project.root / word.partition("::")[0]
    if word not in SETS and not word.startswith("-") and not path.exists() and "/" not in word:
        raise UsageError(unknown("set of tests", word, SETS), project.words.usage)


def pytest_words(words: Sequence[str]) -> list[str]:
    """The words for pytest. The first may name a set of tests; without words it is the set of CI."""
    if not words:
        return [TWO]
    return [*SETS.get(words[0], words[:1]), *words[1:]]


DOES: Does = {"test": _test}
