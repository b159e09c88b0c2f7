"""A plan: what it says, and that making one touches nothing."""

import socket
import sys
from dataclasses import replace
from typing import Any

import pytest

from tasks.base import files
from tasks.base.checkpoint_paths import CheckpointDir
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tasks.run.cluster import plan
from tasks.run.cluster.plan import Predecessor, Survey
from tasks.run.net.protocol import Ports
from tasks.run.node import accel
from tasks.run.node.checkpoint import Checkpoint, CheckpointRecord, SavedNode
from tasks.run.node.snapshot import Shape
from tests.conftest import content
from tests.ports import free_port
from tests.run.cluster.fakes import PORTS, Sleepers

PLAIN = Settings(nvm=2, nrouters=1, net="userspace", accel="tcg", dns="off")
_noted: list[str] | None = None


def _note(event: str, _: tuple[Any, ...]) -> None:
    """Audit hooks stay for good: this one looks only while somebody listens."""
    if _noted is not None and event.split(".")[0] in ("open", "os", "subprocess", "socket", "shutil"):
        _noted.append(event)


sys.addaudithook(_note)


def survey(workspace: Workspace, settings: Settings = PLAIN) -> Survey:
    """Of a host with four processors, and nothing that runs."""
    return replace(plan.survey(settings, workspace), processors=4)


def record(settings: Settings) -> CheckpointRecord:
    """A checkpoint of all nodes of the settings."""
    nodes = tuple(SavedNode(node=node, iso=None, iso_disk=False) for node in settings.nodes())
    return CheckpointRecord(
        saved=1,
        settings=settings.model_dump(mode="json"),
        accel="tcg",
        needs={},
        host_keys={},
        choice=None,
        nodes=nodes,
    )


def test_planning_opens_nothing_starts_nothing_and_says_nothing(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    global _noted
    seen = survey(workspace)
    saved = Checkpoint(CheckpointDir(workspace.checkpoints / "one"), record(PLAIN))
    _noted = []
    try:
        plan.to_start(seen)
        plan.to_add(seen, (PLAIN.node_of(7),))
        plan.to_restore(seen, saved)
        events, _noted = _noted, None
        assert events == []
    finally:
        _noted = None
    assert capsys.readouterr() == ("", "")


def test_the_hook_sees_what_would_be_touched(workspace: Workspace) -> None:
    global _noted
    _noted = []
    try:
        plan.survey(PLAIN, workspace)
        events, _noted = _noted, None
    finally:
        _noted = None
    assert "open" in events


def test_a_survey_changes_no_file_and_says_nothing(
    workspace: Workspace, old: Sleepers, capsys: pytest.CaptureFixture[str]
) -> None:
    old.cluster(workspace, PLAIN)
    before = content(workspace.root)
    survey(workspace)
    assert content(workspace.root) == before and old.alive
    assert capsys.readouterr() == ("", "")


def test_the_same_survey_gives_the_same_plan(workspace: Workspace) -> None:
    seen = survey(workspace)
    assert plan.to_start(seen) == plan.to_start(seen)


def test_shapes_are_said_not_made(workspace: Workspace) -> None:
    start = plan.to_start(survey(workspace))
    assert start.shapes == (Shape(128, 2, 2, (), ""), Shape(128, 2, 3, (), ""))
    assert not (workspace.root / "golden").exists()
    assert plan.to_start(survey(workspace, PLAIN.model_copy(update={"cold": True}))).shapes == ()


def test_a_plan_has_what_was_found_out(workspace: Workspace) -> None:
    start = plan.to_start(survey(workspace))
    assert (start.accel, start.accel_reason, start.net_reason) == ("tcg", "as asked for", "as asked for")
    assert start.boot and start.boot.kernel == workspace.kernel("debian") / "bzImage"
    assert [node.number for node in start.nodes] == [1, 2, 201]
    assert start.directory == workspace.cluster("xcluster")
    assert start.checkpoint is None and start.predecessor is None and start.held == frozenset()


def test_auto_is_decided_in_the_plan(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "recall", lambda _: accel.Verdict("tcg", "as it was"))
    start = plan.to_start(plan.survey(Settings(net="auto", accel="auto"), workspace))
    assert start.settings.net in ("userspace", "bridge") and start.net_reason
    assert (start.accel, start.accel_reason) == ("tcg", "as it was")


@pytest.mark.parametrize(
    ("numbers", "processors", "crowded"), [((1,), 1, True), ((1,), 5, True), ((1,), 6, False)]
)
def test_nodes_that_run_already_count_for_the_processors(
    workspace: Workspace, numbers: tuple[int, ...], processors: int, crowded: bool
) -> None:
    """Three nodes of two CPUs each, of which one is added."""
    seen = replace(survey(workspace), processors=processors)
    add = plan.to_add(seen, tuple(PLAIN.node_of(number) for number in numbers))
    assert add.boot and add.boot.crowded is crowded


def test_a_predecessor_gives_its_ports_back(workspace: Workspace, old: Sleepers) -> None:
    old.cluster(workspace, PLAIN)
    start = plan.to_start(survey(workspace))
    assert start.ports == PORTS
    assert start.held == {21301, 21302, 21501}
    assert start.predecessor and len(start.predecessor.pids) == 3
    assert plan.to_add(survey(workspace), (PLAIN.node_of(3),)).predecessor is None


def test_a_predecessor_whose_record_is_damaged_is_thought_to_have_the_usual_ports(
    workspace: Workspace, old: Sleepers
) -> None:
    """Else its own ports would keep it from being replaced."""
    old.cluster(workspace, PLAIN).state.write_text("{")
    start = plan.to_start(survey(workspace))
    assert start.predecessor and start.predecessor.ports is None
    assert start.held == {12301, 12302, 12501}


def test_dead_nodes_hold_their_ports_too() -> None:
    """A namespace's holder forwards them until the cluster has ended."""
    assert plan.held(Predecessor((3,), (), Ports(500, 700)), PORTS) == {503, 703}
    assert plan.held(None, PORTS) == frozenset()


@pytest.mark.parametrize("moves", [True, False])
def test_ports_that_were_taken_since_the_plan_was_made(workspace: Workspace, moves: bool) -> None:
    """Another workspace may have started a cluster meanwhile. Ports that the user has chosen stay."""
    own = {} if moves else {"ssh_base": free_port() - 1}
    settings = Settings(name="mine", nvm=1, nrouters=0, net="userspace", accel="tcg", **own)
    start = plan.to_start(plan.survey(settings, workspace))
    assert plan.with_free_ports(start, start.backend) == start
    with socket.create_server(("127.0.0.1", start.ports.ssh + 1)):
        other = plan.with_free_ports(start, start.backend)
    assert (other.ports != start.ports) == moves


def test_a_restore_has_the_nodes_and_settings_of_the_checkpoint(workspace: Workspace) -> None:
    saved = Checkpoint(CheckpointDir(workspace.checkpoints / "one"), record(PLAIN))
    restore = plan.to_restore(survey(workspace, saved.settings("other")), saved)
    assert restore.settings.name == "other" and restore.checkpoint is saved
    assert restore.nodes == PLAIN.nodes() and restore.shapes == () and restore.net_reason == "as saved"


@pytest.mark.parametrize("noun", ["kernel", "image"])
def test_what_was_not_built_is_told_with_the_task_that_builds_it(workspace: Workspace, noun: str) -> None:
    name = {"kernel": "debian", "image": "base"}[noun]
    workspace.stamp(noun, name).unlink()
    with pytest.raises(UserError, match=f"the {noun} '{name}' is not in .*\n.*xc {noun}:{name}"):
        plan.survey(PLAIN, workspace)


def test_a_damaged_stamp_is_one_that_is_not_there(workspace: Workspace) -> None:
    workspace.stamp("kernel", "debian").write_text("[]")
    with pytest.raises(UserError, match="xc kernel:debian"):
        plan.survey(PLAIN, workspace)
    files.write_json(workspace.stamp("kernel", "debian"), {"files": {}})
    with pytest.raises(UserError, match="xc kernel:debian"):
        plan.survey(PLAIN, workspace)
