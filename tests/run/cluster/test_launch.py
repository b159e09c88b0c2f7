"""A start without machines: the order of its steps, what is undone, what is said."""

import signal
import threading

import pytest

from tasks.base import files, signals
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.base.signals import Ended
from tasks.definitions.settings import Settings
from tasks.run.cluster import launch, plan
from tasks.run.cluster.plan import Plan
from tasks.run.node import golden, snapshot
from tasks.run.node.protocol import Boot
from tasks.run.running.cluster import locked, running
from tests.run.cluster.fakes import Machines, Nets, Sleepers

COLD = Settings(nvm=2, nrouters=1, net="userspace", accel="tcg", dns="off", cold=True, timeout=20)


def start_of(workspace: Workspace, settings: Settings = COLD) -> Plan:
    """The plan of a start."""
    return plan.to_start(plan.survey(settings, workspace))


def test_the_steps_have_names_in_the_order_that_costs_least() -> None:
    names = [step.name for step in (*launch.BEFORE, *launch.REPLACE, *launch.BRING_UP)]
    assert names == [
        "checks", "golden snapshots", "layers of containers", "end of the running cluster",
        "ports and memory", "record", "nets", "keys", "nodes", "fake internet", "names",
        "answers of the nodes", "time and randomness",
    ]  # fmt: skip
    assert [step.name for step in launch.ADD][:2] == ["ports and memory", "nets"]


def test_a_start_replaces_the_cluster_that_runs(
    workspace: Workspace, old: Sleepers, machines: Machines, nets: Nets, capsys: pytest.CaptureFixture[str]
) -> None:
    old.cluster(workspace, COLD)
    launch.start(start_of(workspace), machines, nets)
    assert machines.events == [
        "machines, old alive", "nets, old alive", "machines, old gone", "nets, old gone",
        "up", "start 1", "start 2", "start 201",
    ]  # fmt: skip
    assert nets.held == {21301, 21302, 21501}
    assert list(running(workspace.cluster("xcluster")).values()) == [
        each.pid for each in machines.new.processes
    ]
    moved, summary = capsys.readouterr().err.splitlines()
    assert moved.startswith("ports have moved: ssh to node N is at 127.0.0.1:21300+N")
    assert (
        summary.startswith("3 nodes in ")
        and "accel=tcg (as asked for), net=userspace (as asked for)" in summary
    )
    record = files.read_json(workspace.cluster("xcluster").state)
    assert record["ports"]["ssh"] == 21300 and record["settings"]["nvm"] == 2 and record["accel"] == "tcg"
    assert set(record["made_of"]) == {"kernel", "image", "qemu"}


def test_a_node_that_does_not_start_is_undone_in_reverse(
    workspace: Workspace, machines: Machines, nets: Nets
) -> None:
    machines.fails_at, machines.console = 2, "Kernel panic"
    with pytest.raises(UserError, match="it does not start"):
        launch.start(start_of(workspace), machines, nets)
    assert machines.events[4:7] == ["up", "start 1", "start 2"]
    assert sorted(machines.events[7:10]) == ["stop vm-001", "stop vm-002", "stop vm-201"]
    assert machines.events[10:] == ["down"]
    assert not workspace.cluster("xcluster").root.exists()
    assert all(process.wait(timeout=10) for process in machines.new.processes)
    log = workspace.root / "log" / "xcluster-vm-002.console.log"
    assert log.read_text() == "Kernel panic"


def test_nets_that_cannot_be_made_are_taken_down(
    workspace: Workspace, machines: Machines, nets: Nets
) -> None:
    nets.fails = "up"
    with pytest.raises(UserError, match="no nets here"):
        launch.start(start_of(workspace), machines, nets)
    assert machines.events[4:] == ["up", "down"]
    assert not workspace.cluster("xcluster").root.exists()


def test_nets_that_stay_do_not_hide_why_the_start_failed(
    workspace: Workspace, machines: Machines, nets: Nets, capsys: pytest.CaptureFixture[str]
) -> None:
    nets.fails, machines.fails_at = "down", 1
    with pytest.raises(UserError, match="it does not start"):
        launch.start(start_of(workspace), machines, nets)
    assert "warning: nets: not all could be undone: a bridge stays" in capsys.readouterr().err
    assert not workspace.cluster("xcluster").root.exists()


def test_kept_to_look_at(workspace: Workspace, machines: Machines, nets: Nets) -> None:
    machines.fails_at = 2
    with pytest.raises(UserError, match="it does not start"):
        launch.start(start_of(workspace, COLD.model_copy(update={"keep": True})), machines, nets)
    assert machines.events[-1] == "start 2"
    assert len(running(workspace.cluster("xcluster"))) == 2


@pytest.mark.parametrize(
    ("keep", "hint"), [(False, "--keep leaves the nodes"), (True, "the cluster is kept")]
)
def test_nodes_that_do_not_answer_are_named(
    workspace: Workspace, machines: Machines, nets: Nets, keep: bool, hint: str
) -> None:
    nets.port, machines.console = 1, "Booting...\nwaiting for a disk\n"
    settings = COLD.model_copy(update={"timeout": 1, "keep": keep})
    with pytest.raises(UserError) as caught:
        launch.start(start_of(workspace, settings), machines, nets)
    assert "3 of 3 nodes did not come up:\n  vm-001: no answer after 1 s" in str(caught.value)
    assert "| waiting for a disk" in str(caught.value) and hint in str(caught.value)
    assert bool(running(workspace.cluster("xcluster"))) is keep


def test_what_only_shows_later_is_told_and_undoes_nothing(
    workspace: Workspace, old: Sleepers, machines: Machines, nets: Nets
) -> None:
    old.cluster(workspace, COLD)
    machines.missing_later = ["there is too little memory"]
    with pytest.raises(UserError, match="cannot start here:\n  there is too little memory"):
        launch.start(start_of(workspace), machines, nets)
    assert machines.events[-2:] == ["machines, old gone", "nets, old gone"]


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize("sign", signals.TEXTS)
def test_an_interrupted_start_is_undone(
    workspace: Workspace, machines: Machines, nets: Nets, sign: signal.Signals
) -> None:
    """The nodes do not answer, and the user has waited long enough."""
    nets.port = 1
    timer = threading.Timer(0.7, signal.raise_signal, [sign])
    timer.start()
    with pytest.raises(Ended):
        launch.start(start_of(workspace), machines, nets)
    assert machines.events[-1] == "down" and not workspace.cluster("xcluster").root.exists()


def test_another_start_under_way_leaves_the_cluster_alone(
    workspace: Workspace, old: Sleepers, machines: Machines, nets: Nets
) -> None:
    old.cluster(workspace, COLD)
    start = start_of(workspace)
    with locked(workspace, "xcluster"), pytest.raises(UserError, match="under way"):
        launch.start(start, machines, nets)
    assert old.alive and machines.events == ["machines, old alive", "nets, old alive"]


def test_nodes_are_added_beside_those_that_run(
    workspace: Workspace, old: Sleepers, machines: Machines, nets: Nets, capsys: pytest.CaptureFixture[str]
) -> None:
    old.cluster(workspace, COLD)
    launch.add(plan.to_add(plan.survey(COLD, workspace), (COLD.node_of(7), COLD.node_of(8))), machines, nets)
    assert old.alive and sorted(running(workspace.cluster("xcluster"))) == [1, 2, 7, 8, 201]
    assert machines.events[4:] == ["up", "start 7", "start 8"]
    assert capsys.readouterr().err.startswith("vm-007, vm-008 added in ")


def test_nodes_that_cannot_be_added_cost_the_others_nothing(
    workspace: Workspace, old: Sleepers, machines: Machines, nets: Nets
) -> None:
    old.cluster(workspace, COLD)
    machines.fails_at = 8
    with pytest.raises(UserError, match="it does not start"):
        launch.add(
            plan.to_add(plan.survey(COLD, workspace), (COLD.node_of(7), COLD.node_of(8))), machines, nets
        )
    assert old.alive and sorted(running(workspace.cluster("xcluster"))) == [1, 2, 201]
    assert sorted(machines.events[7:9]) == ["stop vm-007", "stop vm-008"]
    assert machines.events[9:] == ["unplug 7", "unplug 8"]
    assert workspace.cluster("xcluster").state.is_file()


def test_snapshots_are_taken_while_the_cluster_runs(
    workspace: Workspace, old: Sleepers, machines: Machines, nets: Nets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a shape of which there is none boots the ordinary way."""
    old.cluster(workspace, COLD)
    taken: list[tuple[bool, tuple[snapshot.Shape, ...]]] = []
    start = start_of(workspace, COLD.model_copy(update={"cold": False}))

    def prepare(_: Settings, __: Workspace, boot: Boot, shapes: tuple[snapshot.Shape, ...]) -> dict[str, str]:
        assert boot is start.boot
        taken.append((old.alive, shapes))
        return {}

    monkeypatch.setattr(golden, "prepare", prepare)
    launch.start(start, machines, nets)
    assert taken == [(True, start.shapes)] and len(start.shapes) == 2
