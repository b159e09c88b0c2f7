"""The verb `test`: every check of this project, as CI runs it."""

import os
import sys
from collections.abc import Mapping, Sequence

from tasks.base.errors import UserError
from tasks.engine import kit
from tasks.project import command_line
from tasks.project.project import Project

VERBS: Mapping[str, command_line.Verb] = {
    "test": command_line.Verb(
        "test",
        "run what CI runs, which boots virtual machines; `test quick` what boots none, `test overlays`, "
        "`test kernels` and `test k8s` all overlays, all kernels and Kubernetes, `test all` everything",
        "[quick|overlays|kernels|k8s|all] [PYTEST WORDS...]",
        raw=True,
    ),
}

TWO = "--numprocesses=2"  # one of the processes has all tests that boot machines (tests/conftest.py)
LONG = ("tests/overlays", "tests/kernels", "tests/k8s")  # left out of a run that does not name them
# What each set is to pytest; docs/testing.md says what it proves.
SETS: Mapping[str, Sequence[str]] = {
    "quick": (TWO, "-m", "not boot"),
    "overlays": LONG[:1],
    "kernels": LONG[1:2],
    "k8s": LONG[2:],
    "all": (TWO, "tests", *LONG),
}


def tasks(project: Project) -> kit.Tasks:
    """The verb of this module."""
    yield kit.verb(VERBS["test"], project.words, _test, [project])


def _test(project: Project) -> None:
    try:
        import pytest  # noqa: F401
    except ImportError as error:
        raise UserError("the test tools are not installed", "./xc test installs them") from error
    os.chdir(project.root)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *pytest_words(project.words.args)])


def pytest_words(words: Sequence[str]) -> list[str]:
    """What pytest is told: the first word may name a set of tests; without words it is what CI runs."""
    if not words:
        return [TWO]
    return [*SETS.get(words[0], words[:1]), *words[1:]]
