"""A running cluster as an object: what it is found by, what it tells, and what damaged files make of it."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.base import files, process_facts, records
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.base.records import Damaged, ProcessRecord
from tasks.definitions.settings import Settings
from tasks.run.cluster import ending
from tasks.run.inspect import status
from tasks.run.net import net_state
from tasks.run.net.bridge import BridgeNet
from tasks.run.net.protocol import Ports
from tasks.run.net.userspace import Userspace
from tasks.run.node.node_state import Cables
from tasks.run.running import ports, state
from tasks.run.running.cluster import Running, running, settings_of
from tests.run.running.clusters import started
from tests.test_layers import sources

TWO = Settings(name="two", nvm=2, nrouters=1, net="userspace")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty one."""
    return Workspace(tmp_path)


def live(workspace: Workspace, settings: Settings = TWO) -> Running:
    """A cluster whose nodes are all the process of this test."""
    started(workspace, settings, pid=os.getpid(), start=process_facts.started_at(os.getpid()))
    return Running.get(workspace, settings.name)


def test_what_a_cluster_tells(workspace: Workspace) -> None:
    cluster = live(workspace)
    assert cluster.name == "two" and cluster.settings == TWO and cluster.ports == Ports(12300, None)
    assert cluster.numbers == [1, 2, 201]
    assert cluster.nodes() == {number: TWO.node_of(number) for number in (1, 2, 201)}
    assert cluster.alive() == dict.fromkeys((1, 2, 201), os.getpid())
    assert cluster.at(201) == ("127.0.0.1", 12501)
    assert isinstance(cluster.backend, Userspace)
    assert cluster.damages == []


def test_a_dead_cluster_is_one_too(workspace: Workspace) -> None:
    started(workspace, TWO)
    cluster = Running.get(workspace, "two")
    assert cluster.alive() == {} and cluster.alive_nodes() == []
    assert len(cluster.nodes()) == 3


def test_no_cluster(workspace: Workspace) -> None:
    assert Running.find(workspace, "two") is None
    assert Running.every(workspace) == [] == Running.all_left(workspace)
    assert settings_of(workspace, "two") is None
    assert running(workspace.cluster("two")) == {}
    with pytest.raises(UserError, match="cluster 'two' is not running"):
        Running.get(workspace, "two")


def test_every_cluster_has_a_directory_of_its_own(workspace: Workspace) -> None:
    for name in ("b", "a"):
        started(workspace, TWO.model_copy(update={"name": name}))
    (workspace.run / ".dns").mkdir()
    (workspace.run / "a.lock").touch()
    (workspace.run / "broken").mkdir()
    assert [each.name for each in Running.every(workspace)] == ["a", "b", "broken"]


def test_only_names_of_nodes_are_nodes(workspace: Workspace) -> None:
    cluster = live(workspace)
    for name in ("vm-1", "vm-0002", "s-003", "vm-x", "held", "vm-004.ram"):
        (cluster.directory.root / name).mkdir()
    (cluster.directory.root / "vm-005").touch()
    assert cluster.numbers == [1, 2, 201]


def test_a_cluster_of_the_form_before_there_were_numbers_is_understood(workspace: Workspace) -> None:
    cluster = live(workspace)
    for path in [*cluster.directory.root.rglob("*.json")]:
        content = files.read_json(path)
        del content["format"]
        path.write_text(json.dumps(content))
    again = Running.get(workspace, "two")
    assert again.damages == [] and again.settings == TWO and len(again.alive_nodes()) == 3


def make_directory(path: Path) -> None:
    """Where a file should be."""
    path.unlink(missing_ok=True)
    path.mkdir()


def in_its_place(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Make something else where a file is."""

    def replace(path: Path) -> None:
        path.unlink(missing_ok=True)
        make(path)

    return replace


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "no JSON": lambda path: path.write_text("{"),
    "a list": lambda path: path.write_text("[]"),
    "other types": lambda path: path.write_text('{"pid": "one", "settings": 3, "own": "yes", "taps": 1}'),
    "another version": lambda path: path.write_text('{"format": 7}'),
    "bytes": lambda path: path.write_bytes(b"\x00\xff" * 99),
    "a directory": make_directory,
    "a pipe": in_its_place(os.mkfifo),
    "a link to nothing": in_its_place(lambda path: path.symlink_to("/not/there")),
    "a link to itself": in_its_place(lambda path: path.symlink_to(path)),
    "a device": in_its_place(lambda path: path.symlink_to("/dev/zero")),
    "huge": lambda path: os.truncate(path, 1 << 33) if path.exists() else path.write_text("["),
    "deep": lambda path: path.write_text("[" * 100_000),
    "numbers beyond all": lambda path: path.write_text('{"format": 1, "pid": 1%s, "start": 5}' % ("0" * 30)),
}
FILES = (
    "cluster.json",
    "kubeconfig.json",
    "fakenet.helper",
    "dns/server.json",
    "net/place.json",
    "net/taps.json",
    "net/switch-1.json",
    "net/1-0.json",
    "vm-001/node.json",
    "vm-001/links.json",
    "vm-001/netem-eth0.helper",
    "vm-001/vm-001-1-abc.window",
)


def test_every_file_that_there_may_be_is_damaged_below() -> None:
    assert {re.sub(r"\*", "", pattern) for pattern in state.FILES} == {
        "cluster.json", "kubeconfig.json", "fakenet.helper", "dns/server.json", "net/place.json",
        "net/taps.json", "net/switch-.json", "net/[0-9]-[0-9].json", "vm-/node.json", "vm-/links.json",
        "vm-/netem-.helper", "vm-/.window",
    }  # fmt: skip
    assert len(FILES) == len(state.FILES)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_told_and_stopped(workspace: Workspace, file: str, how: str) -> None:
    started(workspace, TWO)
    root = workspace.cluster("two").root
    (root / file).parent.mkdir(exist_ok=True)
    DAMAGES[how](root / file)
    shown = status.of(Running.get(workspace, "two"))
    assert [each.file for each in shown.damaged] == [str(root / file)]
    assert str(root / file) in shown.text() and "xc stop --name=two" in shown.text()
    json.dumps(shown.as_dict())
    assert ending.stop(workspace, "two")
    assert list(workspace.run.iterdir()) == []


def test_a_missing_file_is_a_damage(workspace: Workspace) -> None:
    cluster = live(workspace)
    cluster.directory.state.unlink()
    cluster.node(2).state.unlink()
    why = {each.path.name: each.why for each in cluster.damages}
    assert why == {"cluster.json": "it is missing", "node.json": "it is missing"}


def test_who_needs_a_damaged_file_gets_an_error_with_advice(workspace: Workspace) -> None:
    cluster = live(workspace)
    cluster.node(1).state.write_text('{"format": 3}')
    with pytest.raises(
        Damaged, match=r"vm-001/node.json is damaged: another version(.|\n)*xc stop --name=two"
    ):
        cluster.nodes()
    assert [node.number for node in cluster.alive_nodes()] == [2, 201], "nobody knows of a process of node 1"
    cluster.directory.state.write_text("")
    readers = (
        lambda: cluster.settings,
        lambda: cluster.ports,
        lambda: cluster.backend,
        lambda: cluster.at(1),
    )
    for ask_one in readers:
        with pytest.raises(Damaged, match=r"cluster.json is damaged: it is empty(.|\n)*xc stop --name=two"):
            ask_one()
    with pytest.raises(Damaged):
        settings_of(workspace, "two")


def test_a_damaged_cluster_keeps_no_other_from_its_ports(workspace: Workspace) -> None:
    started(workspace, TWO, Ports(13300, None))
    started(workspace, Settings(name="bad", net="userspace"), Ports(12300, None)).state.write_text("[]")
    chosen = ports.choose(Settings(name="third", net="userspace", nvm=0, nrouters=1), workspace)
    assert chosen.ssh not in (13300,)


def test_ports_of_other_clusters_are_not_taken_twice(workspace: Workspace) -> None:
    settings = Settings(name="two", net="userspace")
    first = ports.choose(settings, workspace)
    started(workspace, settings.model_copy(update={"name": "one"}), first)
    assert ports.choose(settings, workspace).ssh != first.ssh
    started(workspace, settings, Ports(20300, None))
    assert ports.choose(settings, workspace) == Ports(20300, None), "a running cluster keeps its own"


def test_what_takes_the_nets_of_a_damaged_cluster_down(workspace: Workspace) -> None:
    directory = started(workspace, TWO)
    directory.state.write_text("")
    directory.net.mkdir()
    assert type(Running(directory).cleaner).__name__ == "Custom"
    records.write(directory.net / "switch-1.json", ProcessRecord(pid=1, start=1))
    assert isinstance(Running(directory).cleaner, Userspace)
    records.write(directory.net / "place.json", net_state.NetPlace(own=False, ns=1))
    assert isinstance(Running(directory).cleaner, BridgeNet)


@pytest.mark.parametrize(("own", "lacks"), [(True, "holder"), (False, "ns")])
def test_a_place_says_where_it_is(own: bool, lacks: str) -> None:
    with pytest.raises(ValueError, match=f"'{lacks}' is missing"):
        net_state.NetPlace(own=own)


def test_cables(workspace: Workspace) -> None:
    cluster = live(workspace)
    records.write(cluster.node(1).links, Cables(cables={"eth1": "down"}))
    assert Running.get(workspace, "two").damages == []


OWNERS = {
    "tasks/run/node/node_state.py",
    "tasks/run/running/state.py",
    "tasks/run/running/glance.py",
    "tasks/run/net/net_state.py",
    "tasks/base/node_names.py",
}
ELSEWHERE = re.compile(
    r"""glob\(["']vm-|removeprefix\(["']vm-|name\[3:\]\)?.*vm|vm-\{|Ports\(\*\*|Node\.model_validate\(files"""
    r"""|read_json\([^)]*(\.state|\.fakenet|\.links|\.kubeconfig|place\.json|taps\.json)\)"""
)


def test_nobody_else_opens_the_files_of_a_cluster_or_takes_its_names_apart() -> None:
    opened = {
        path: matches
        for path, text in sources()
        if path not in OWNERS and (matches := ELSEWHERE.findall(text))
    }
    assert opened == {}
    assert ELSEWHERE.search("files.read_json(directory.state)") and ELSEWHERE.search('root.glob("vm-*")')
