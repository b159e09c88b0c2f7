"""The settings as xcluster's documents source them, in a fresh clone, and the words that come of it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, WORKSPACE, Cluster
from tests.seeds.host_lines import SETTINGS
from tests.seeds.shell import Shell


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A terminal in which the lines were typed; $CHECKOUT is a fresh clone that has our Python packages."""
    folder = tmp_path_factory.mktemp("clone")
    clone = folder / "xcluster"
    words = ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)]
    subprocess.run(words, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"})
    (clone / ".venv").symlink_to(ROOT / ".venv")
    environment = {**Cluster("").environment, "CHECKOUT": str(clone)}
    environment.pop("XCLUSTER_WORKSPACE", None)
    with Shell(folder, environment) as shell:
        typed_lines(shell)
        yield shell


def typed_lines(shell: Shell) -> None:
    for line in SETTINGS:
        shell.answers(line)


def test_the_lines_may_be_typed_twice(shell: Shell) -> None:
    shell.typed("cd")
    typed_lines(shell)


@pytest.mark.parametrize("word", ["xc", "vm", "images"])
def test_the_words_that_come_of_them(shell: Shell, word: str) -> None:
    assert shell.typed(f"type {word}")[0] == 0


def test_they_are_those_of_the_clone(shell: Shell) -> None:
    _, output = shell.typed("xc env")
    clone = shell.typed("echo $CHECKOUT")[1].strip()
    assert f"XCLUSTER_WORKSPACE='{clone}/workspace'" in output
    assert str(WORKSPACE) not in output


def test_the_image_is_that_of_kubernetes(shell: Shell) -> None:
    assert Path(shell.typed("echo $__image")[1].strip()).name == "hd-k8s.img"
