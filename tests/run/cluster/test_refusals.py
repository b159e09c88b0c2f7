"""A start that is refused costs nobody a running cluster: the processes of the old one live on."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.base import files, limits, process_facts
from tasks.base.checkpoint_paths import CheckpointDir
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.cluster import checkpoints, checks, launch, plan
from tasks.run.cluster.plan import Plan
from tasks.run.net import bridge, userspace
from tasks.run.net.protocol import Ports
from tasks.run.node import accel, checkpoint, kinds, qemu
from tests.conftest import Fakes, content
from tests.ports import free_port
from tests.run.cluster.fakes import Machines, Nets, Sleepers

SETTINGS = Settings(nvm=1, nrouters=1, net="userspace", accel="tcg", dns="off")
Change = Callable[[Plan], Plan]


def planned(workspace: Workspace, **settings: object) -> Plan:
    """A start in the place of what runs."""
    chosen = SETTINGS.model_copy(update=settings)
    return plan.to_start(plan.survey(chosen, workspace))


@pytest.fixture
def running(workspace: Workspace, old: Sleepers) -> Iterator[Sleepers]:
    """A cluster that must live on, every file of it."""
    directory = old.cluster(workspace, SETTINGS)
    before = content(directory.root)
    yield old
    assert old.alive and content(directory.root) == before
    assert not (workspace.root / "golden").exists(), "a snapshot was made for what was refused"


def refused(start: Plan, says: str, machines: Machines, nets: Nets) -> None:
    """The start must be refused with these words, by what carries it out as it is."""
    with pytest.raises(UserError, match=says):
        launch.start(start, machines, nets)


@pytest.mark.usefixtures("running")
def test_names_that_cannot_be_read(workspace: Workspace, machines: Machines, nets: Nets) -> None:
    start = planned(workspace, dns="auto", dns_hosts="not/there")
    refused(start, "dns_hosts: cannot read not/there", machines, nets)


@pytest.mark.usefixtures("running")
def test_names_that_are_none(workspace: Workspace, machines: Machines, nets: Nets, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("192.0.2 a\n")
    start = planned(workspace, dns="auto", dns_hosts=str(names))
    refused(start, "line 1: '192.0.2' is no IP address", machines, nets)


@pytest.mark.usefixtures("running")
def test_ready_without_kubernetes(workspace: Workspace, machines: Machines, nets: Nets) -> None:
    refused(planned(workspace, wait="ready"), "--wait=ready needs a cluster with Kubernetes", machines, nets)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(("noun", "task"), [("kernel", "xc kernel:debian"), ("image", "xc image:base")])
def test_a_file_of_an_artifact_that_is_gone(
    workspace: Workspace, machines: Machines, nets: Nets, noun: str, task: str
) -> None:
    start = planned(workspace)
    assert start.boot
    {"kernel": start.boot.kernel, "image": start.boot.image}[noun].unlink()
    refused(start, f"is not there: `{task}` builds it", machines, nets)


@pytest.mark.usefixtures("running")
def test_what_the_backends_lack(workspace: Workspace, machines: Machines, nets: Nets) -> None:
    """All of it, in one message."""
    machines.missing, nets.missing = ["no QEMU"], ["no taps"]
    refused(planned(workspace), "cannot start here:\n  no QEMU\n  no taps", machines, nets)


@pytest.mark.usefixtures("running")
def test_a_program_of_the_user_that_is_none(workspace: Workspace, machines: Machines) -> None:
    start = planned(workspace, net="custom", net_setup="/not/there")
    with pytest.raises(UserError, match="net_setup: '/not/there' is no program"):
        launch.start(start, machines, start.backend)


@pytest.mark.usefixtures("running")
def test_a_missing_program(
    workspace: Workspace, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, nets: Nets
) -> None:
    start = planned(workspace)
    monkeypatch.setenv("PATH", str(fakes.folder))
    with pytest.raises(UserError, match="'qemu-system-x86_64' is missing: apt-get install"):
        launch.start(start, kinds.BACKEND, nets)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kvm_opt": "-device 'x"}, "kvm_opt cannot be split into words: No closing quotation"),
        ({"machine": "pcx"}, "no type 'pcx', .*did you mean 'pc'"),
        ({"mem": 65536, "nvm": 200}, "MiB free: use --mem"),
    ],
)
def test_what_qemu_would_not_take(
    workspace: Workspace, nets: Nets, settings: dict[str, object], says: str, fakes: Fakes
) -> None:
    fakes.program("qemu-system-x86_64", "echo Supported machines are:; echo 'pc  the usual one'")
    fakes.program("qemu-img")
    fakes.program("ssh")
    with pytest.raises(UserError, match=says):
        launch.start(planned(workspace, **settings), kinds.BACKEND, nets)


@pytest.mark.usefixtures("running")
def test_kvm_that_does_not_work(
    workspace: Workspace, machines: Machines, nets: Nets, monkeypatch: pytest.MonkeyPatch, fakes: Fakes
) -> None:
    """A verdict is not believed, but tried again."""
    fakes.program("qemu-system-x86_64")
    monkeypatch.setattr(accel, "without_kvm", lambda: None)
    files.write_json(workspace.accel, {"boot": accel.boot_id(), "accel": "tcg", "why": "of old"})
    start = planned(workspace, accel="kvm")
    refused(start, "accel=kvm: KVM does not work: a probe guest did not come up", machines, nets)
    assert len(fakes.calls("qemu-system-x86_64")) == 1


@pytest.mark.usefixtures("running")
def test_an_mtu_that_no_tap_has(workspace: Workspace, machines: Machines) -> None:
    with pytest.raises(UserError, match="--mtu=65530 is more than a tap can have"):
        launch.start(planned(workspace, mtu=65530), machines, bridge.BACKEND)


@pytest.mark.usefixtures("running")
def test_a_port_of_a_third_program(workspace: Workspace, machines: Machines) -> None:
    """The old cluster has no second node, so it is not its port that is taken."""
    start = planned(workspace, nvm=2)
    with socket.create_server(("127.0.0.1", start.ports.ssh + 2)):
        with pytest.raises(UserError, match="port 127.0.0.1:21302 .* of vm-002"):
            launch.start(start, machines, userspace.BACKEND)


def test_a_port_that_the_old_cluster_has_is_no_obstacle(workspace: Workspace, old: Sleepers) -> None:
    old.cluster(workspace, SETTINGS, Ports(free_port() - 1, None))
    start = planned(workspace)
    with socket.create_server(("127.0.0.1", start.ports.ssh + 1)):
        checks.early(start, kinds.BACKEND, userspace.BACKEND)
        with pytest.raises(UserError, match="of vm-001"):
            checks.late(start, kinds.BACKEND, userspace.BACKEND)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("ports", "says"),
    [
        (Ports(65400, None), r"port 65601 \(for port 22 of vm-201\) is above 65535"),
        (Ports(21300, 21300), r"port 21301 \(for port 23 of vm-001\) is that of vm-001 too"),
        (Ports(21300, 21500), r"port 21501 \(for port 23 of vm-001\) is that of vm-201 too|vm-001 too"),
        (Ports(21300, None, 21301), r"port 21301 \(for port 6443 of vm-001\) is that of vm-001 too"),
    ],
)
def test_more_nodes_than_ports(workspace: Workspace, machines: Machines, ports: Ports, says: str) -> None:
    start = replace(planned(workspace), ports=ports)
    with pytest.raises(UserError, match=says):
        launch.start(start, machines, userspace.BACKEND)


def test_the_memory_of_the_old_cluster_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory", lambda: limits.Memory(10, "the host"))
    nodes = Settings(nvm=4, nrouters=0).nodes()
    assert any("10 MiB free" in line for line in qemu.BACKEND.preflight(SETTINGS, nodes))
    assert not any("MiB" in line for line in qemu.BACKEND.preflight(SETTINGS, nodes, 486))


def test_memory_that_the_old_cluster_gives_back(
    workspace: Workspace, old: Sleepers, nets: Nets, monkeypatch: pytest.MonkeyPatch, fakes: Fakes
) -> None:
    """Two nodes of 128 MiB are thought to take 248 MiB; 10 are free, and each of the old ones holds 120."""
    for name in ("qemu-system-x86_64", "qemu-img", "ssh"):
        fakes.program(name)
    old.cluster(workspace, SETTINGS)
    monkeypatch.setattr(limits, "memory", lambda: limits.Memory(10, "the host"))
    monkeypatch.setattr(process_facts, "real_memory", lambda pid: 120 << 10)
    checks.early(planned(workspace), kinds.BACKEND, nets)
    with pytest.raises(UserError, match="256 MiB in all take about 248 MiB, but the host has 10 MiB free"):
        checks.late(planned(workspace), kinds.BACKEND, nets)
    monkeypatch.setattr(process_facts, "real_memory", lambda pid: 110 << 10)
    with pytest.raises(UserError, match="256 MiB in all take about 248 MiB, but the host has 230 MiB free"):
        checks.early(planned(workspace), kinds.BACKEND, nets)


# Nodes that are added, and checkpoints.


@pytest.mark.usefixtures("running")
def test_nodes_that_cannot_be_added(workspace: Workspace, machines: Machines, nets: Nets) -> None:
    machines.missing = ["no QEMU"]
    with pytest.raises(UserError, match="no QEMU"):
        launch.add(plan.to_add(plan.survey(SETTINGS, workspace), (SETTINGS.node_of(7),)), machines, nets)
    add = plan.to_add(plan.survey(SETTINGS, workspace), (SETTINGS.node_of(1),))
    with socket.create_server(("127.0.0.1", 21301)):  # nothing ends for it, so nothing gives a port back
        with pytest.raises(UserError, match="21301"):
            launch.add(add, Machines(machines.old, machines.new), userspace.BACKEND)


def save(workspace: Workspace, nodes: tuple[Node, ...] = SETTINGS.nodes()) -> CheckpointDir:
    """A checkpoint that can be restored."""
    place = CheckpointDir(workspace.checkpoints / "one")
    place.root.mkdir(parents=True)
    for node in nodes:
        for path in (place.ram(node.number), place.state(node.number), place.disk(node.number)):
            path.write_text("x")
    record = checkpoint.CheckpointRecord(
        saved=1,
        settings=SETTINGS.model_dump(mode="json"),
        accel="tcg",
        needs=checkpoint.requirements(SETTINGS, workspace, nodes),
        host_keys={node.name: f"ssh-ed25519 {node.name}" for node in nodes},
        choice=None,
        nodes=tuple(checkpoint.SavedNode(node=node, iso=None, iso_disk=False) for node in nodes),
    )
    files.write_json(place.record, record.model_dump(mode="json"))
    return place


def restore(workspace: Workspace, machines: Machines, nets: Nets) -> None:
    """Restore the checkpoint over the cluster that runs."""
    with checkpoints.restorable(workspace, "one", lambda saved: saved.cluster) as start:
        launch.start(start, machines, nets)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("part", ["image", "kernel"])
def test_a_checkpoint_of_other_artifacts(
    workspace: Workspace, machines: Machines, nets: Nets, part: str
) -> None:
    save(workspace)
    stamp = workspace.stamp(part, {"image": "base", "kernel": "debian"}[part])
    files.write_json(stamp, {**files.read_json(stamp), "files": {"another": "2"}})
    with pytest.raises(UserError, match=f"'one' cannot be restored(.|\n)*{part}: `xc {part}:"):
        restore(workspace, machines, nets)
    stamp.unlink()
    with pytest.raises(UserError, match=f"'one' cannot be restored(.|\n)*{part}: `xc {part}:"):
        restore(workspace, machines, nets)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("name", ["vm-001.ram", "vm-201.state", "vm-001.qcow2"])
def test_a_checkpoint_that_is_not_whole(
    workspace: Workspace, machines: Machines, nets: Nets, name: str
) -> None:
    (save(workspace).root / name).unlink()
    with pytest.raises(UserError, match=f"'one' is not whole, {name} is missing: xc checkpoint rm one"):
        restore(workspace, machines, nets)


@pytest.mark.usefixtures("running")
def test_a_checkpoint_of_another_version(workspace: Workspace, machines: Machines, nets: Nets) -> None:
    place = save(workspace)
    record = files.read_json(place.record)
    record["settings"]["colour"] = "red"
    files.write_json(place.record, record)
    with pytest.raises(UserError, match="settings that this version does not know: colour"):
        restore(workspace, machines, nets)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 2}'])
def test_a_checkpoint_that_cannot_be_read(
    workspace: Workspace, machines: Machines, nets: Nets, text: str
) -> None:
    save(workspace).record.write_text(text)
    with pytest.raises(UserError, match="checkpoint 'one' cannot be used"):
        restore(workspace, machines, nets)


def test_a_checkpoint_that_fits_replaces_what_runs(
    workspace: Workspace, old: Sleepers, machines: Machines, nets: Nets, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.cluster(workspace, SETTINGS)
    save(workspace)
    woken: list[str] = []
    monkeypatch.setattr(checkpoint, "wake", lambda runs, _: woken.extend(run.node.name for run in runs))
    restore(workspace, machines, nets)
    assert not old.alive and machines.new.alive and woken == ["vm-001", "vm-201"]
    assert "start 201" in machines.events
