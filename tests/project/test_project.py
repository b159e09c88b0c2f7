"""What a run knows before it makes tasks."""

from pathlib import Path

import pytest

from tasks.base.errors import DefinitionError
from tasks.base.paths import Workspace
from tasks.cli.table import VERBS
from tasks.definitions.settings import Settings
from tasks.project import project
from tasks.project.command_line import parse
from tasks.run.running.cluster import settings_of
from tests.run.running.clusters import started


def load(workspace: Path, *argv: str, **environ: str) -> Settings:
    variables = {"XCLUSTER_WORKSPACE": str(workspace), **environ}
    return project.load(parse(argv, VERBS), variables, settings_of).settings


def running(workspace: Path, **changed: object) -> None:
    chosen = Settings(kernel="linux-6.1", mem=200, per_node={"mem5": "300"}).model_copy(update=changed)
    started(Workspace(workspace), chosen)


def test_nodes_are_added_as_the_running_cluster_was_started(tmp_path: Path) -> None:
    running(tmp_path)
    added = load(tmp_path, "scaleout", "5")
    assert (added.kernel, added.mem, added.node_of(5).mem) == ("linux-6.1", 200, 300)


def test_what_the_command_line_says_of_an_added_node_goes_first(tmp_path: Path) -> None:
    running(tmp_path)
    added = load(tmp_path, "scaleout", "--mem=100", "5", "6", __mem6="150")
    assert [added.node_of(n).mem for n in (5, 6, 7)] == [300, 150, 100]


def test_a_new_start_forgets_the_old_one(tmp_path: Path) -> None:
    running(tmp_path)
    assert load(tmp_path, "start").kernel == "debian"


def test_another_cluster_is_no_matter(tmp_path: Path) -> None:
    running(tmp_path, name="other")
    assert load(tmp_path, "scaleout", "5").kernel == "debian"


def test_memory_that_is_too_small_for_the_kernel_is_said_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as refused:
        load(tmp_path, "start", "--mem=80", "--mem201=64")
    assert "a node of 64 MiB is too small for the kernel 'debian', which needs 72 MiB" in str(refused.value)
    assert "80 MiB" not in str(refused.value)
    assert load(tmp_path, "start", "--mem=64", "--kernel=linux-6.1").mem == 64
    assert load(tmp_path, "start", "--mem=64", "--node=container").mem == 64  # it boots no kernel
