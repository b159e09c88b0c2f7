"""What a run knows before it makes tasks."""

from pathlib import Path

from tasks.lib import files, project
from tasks.lib.paths import Workspace
from tasks.lib.settings import Settings
from tasks.verbs import VERBS


def load(workspace: Path, *argv: str, **environ: str) -> Settings:
    return project.load(argv, {"XCLUSTER_WORKSPACE": str(workspace), **environ}, VERBS).settings


def running(workspace: Path, **changed: object) -> None:
    started = Settings(kernel="linux-6.1", mem=200, per_node={"mem5": "300"}).model_copy(update=changed)
    state = Workspace(workspace).cluster(started.name).state
    state.parent.mkdir(parents=True)
    files.write_json(state, {"settings": started.model_dump(mode="json")})


def test_nodes_are_added_as_the_running_cluster_was_started(tmp_path: Path) -> None:
    running(tmp_path)
    added = load(tmp_path, "scaleout", "5")
    assert (added.kernel, added.mem, added.node(5).mem) == ("linux-6.1", 200, 300)


def test_what_the_command_line_says_of_an_added_node_goes_first(tmp_path: Path) -> None:
    running(tmp_path)
    added = load(tmp_path, "scaleout", "--mem=100", "5", "6", __mem6="150")
    assert [added.node(n).mem for n in (5, 6, 7)] == [300, 150, 100]


def test_a_new_start_forgets_the_old_one(tmp_path: Path) -> None:
    running(tmp_path)
    assert load(tmp_path, "start").kernel == "debian"


def test_another_cluster_is_no_matter(tmp_path: Path) -> None:
    running(tmp_path, name="other")
    assert load(tmp_path, "scaleout", "5").kernel == "debian"
