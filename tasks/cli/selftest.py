"""The verb `test`: every check of this project, as CI runs it."""

import os
import sys
from collections.abc import Mapping, Sequence

from tasks.base.errors import UserError
from tasks.project.project import Does, Project

SETS: Mapping[str, str] = {"overlays": "tests/overlays", "k8s": "tests/k8s"}


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


DOES: Does = {"test": _test}
