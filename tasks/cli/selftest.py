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
        "run all tests, those that boot virtual machines too; `test overlays` those of every overlay, "
        "`test k8s` those of Kubernetes",
        "[overlays|k8s] [PYTEST WORDS...]",
        raw=True,
    ),
}

SETS: Mapping[str, str] = {"overlays": "tests/overlays", "k8s": "tests/k8s"}


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
    """What pytest is told: the first word may name a set of tests.

    Without words it runs all, in two processes: one has those that boot machines (tests/conftest.py).
    """
    if not words:
        return ["--numprocesses=2"]
    first = [SETS.get(word, word) for word in words[:1]]
    return [*first, *words[1:]]
