"""What containers are started from, and the filter of system calls, which runs for real in a child."""

import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.base import cgroups, proc, subids
from tasks.base.errors import UserError
from tasks.base.paths import NodeDir, Workspace
from tasks.definitions.settings import Settings
from tasks.run.net import bridge, custom, host_support, selection, userspace
from tasks.run.net.protocol import NetBackend, Ports, TapNic, VethNic
from tasks.run.node import checkpoint, container_layers, container_node, golden, kinds
from tasks.run.node.programs import container, syscall_filter
from tasks.run.node.protocol import Layers

MIXED = Settings(node="container", per_node={"node1": "vm"}, net="bridge")


def test_the_kind_of_each_node() -> None:
    assert [node.name for node in kinds.machines(MIXED.nodes())] == ["vm-001"]
    assert len(kinds.containers(MIXED.nodes())) == 5
    assert Settings().nodes() == kinds.machines(Settings().nodes())


def test_a_container_has_no_snapshot() -> None:
    assert [shape.nics for shape in golden.shapes(MIXED, MIXED.nodes())] == []  # vm-001 is no usual node
    assert golden.shapes(Settings(node="container", net="bridge"), Settings(node="container").nodes()) == []


def test_nics_are_cables_with_the_names_of_taps(tmp_path: Path) -> None:
    cluster = Workspace(tmp_path).cluster("c")
    machine, node = (MIXED.node_of(number) for number in (1, 2))
    ports = Ports(12300, None)
    assert bridge.BACKEND.nics(cluster, machine, "fd00:", ports)[1] == TapNic(
        1, "00:00:00:01:01:01", "xcbr1_t1"
    )
    nics = bridge.BACKEND.nics(cluster, node, "fd00:", ports)
    assert nics[1] == VethNic(1, "00:00:00:01:01:02", "xcbr1_t2", "xcbr1", "xcw1_t2")
    plan = bridge.plan([machine, node], "fd00:")
    assert [name for name, _, _ in plan["taps"]] == ["xcbr0_t1", "xcbr1_t1"]
    assert [name for name, *_ in plan["bridges"]] == ["xcbr0", "xcbr1"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "xc_wait=30"),
        ({"mtu": 9000}, "xc_wait=30 mtu0=9000 mtu1=9000"),
        ({"append": "debug"}, "xc_wait=30 debug"),
    ],
)
def test_what_scripts_read_of_a_command_line(changed: dict[str, object], expected: str) -> None:
    assert container_node.cmdline(Settings.model_validate(changed).node_of(1)) == expected


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"node": "container"}, []),
        ({"append": "debug"}, []),
        ({"node": "container", "append": "debug"}, ["append=debug of vm-001"]),
        ({"node": "container", "kernel": "linux-6.1"}, ["kernel=linux-6.1"]),
        ({"node": "container", "kvm_opt": "-s", "accel": "kvm"}, ["kvm_opt=-s, accel=kvm"]),
        ({"per_node": {"node2": "container"}, "kernel": "linux-6.1"}, []),
        ({"per_node": {"node2": "container", "append2": "quiet"}}, ["append=quiet of vm-002"]),
    ],
)
def test_what_has_no_effect_is_told(changed: dict[str, object], told: list[str]) -> None:
    settings = Settings.model_validate(changed)
    notes = container_node.notes(settings, settings.nodes())
    assert [note.rpartition(": ")[2] for note in notes] == told


@pytest.mark.parametrize("net", ["userspace", "custom"])
def test_nets_without_bridges_refuse_containers(net: str) -> None:
    backends: dict[str, NetBackend] = {"userspace": userspace.BACKEND, "custom": custom.Custom("/bin/true")}
    backend = backends[net]
    problems = backend.preflight(MIXED.nodes(), Ports(31700, None))
    assert problems[0].startswith("containers (vm-002, vm-003, vm-004 ...) need bridges: use --net=bridge")
    assert net in problems[0]
    assert not any("containers" in line for line in backend.preflight((), Ports(31700, None)))


def test_auto_takes_bridges_even_where_they_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the start says what is missing, and does not take nets that containers cannot have."""
    monkeypatch.setattr(selection, "_best", lambda: ("userspace", "no bridges: there is no /dev/net/tun"))
    assert selection.decide(Settings())[0] == "userspace"
    assert selection.decide(Settings(per_node={"node3": "container"}))[0] == "bridge"


def test_a_checkpoint_is_refused() -> None:
    checkpoint.refuse_containers(kinds.machines(MIXED.nodes()))
    with pytest.raises(UserError, match="these are containers: vm-002, vm-003") as caught:
        checkpoint.refuse_containers(MIXED.nodes())
    assert "--node=vm" in str(caught.value.hint)


def test_an_image_that_was_not_built(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`xc rootfs:base` builds them"):
        container_layers.prepare(MIXED, Workspace(tmp_path))


@pytest.mark.parametrize(
    ("text", "there", "missing"), [("10", True, False), ("0\n", True, True), ("10", False, True)]
)
def test_a_host_without_user_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, there: bool, missing: bool
) -> None:
    (tmp_path / "most").write_text(text)
    monkeypatch.setattr(container_node, "MOST_USERS", tmp_path / ("most" if there else "none"))
    problems = container_node.BACKEND.preflight(MIXED, MIXED.nodes())
    assert any("user namespaces" in line for line in problems) is missing


@pytest.mark.parametrize(
    ("held", "release", "told"),
    [
        ({"mem", "smp", "processes"}, (4, 0), []),
        ({"mem", "smp"}, (5, 14), []),
        ({"mem"}, (4, 19), ["--smp, the number of processes"]),
        (set(), (6, 1), ["--mem, --smp"]),
    ],
)
def test_limits_that_do_not_hold_are_told(
    monkeypatch: pytest.MonkeyPatch, held: set[str], release: tuple[int, int], told: list[str]
) -> None:
    monkeypatch.setattr(cgroups, "held", lambda: held)
    monkeypatch.setattr(host_support, "release", lambda: release)
    lines = container_node.unlimited(MIXED.nodes())
    assert [line.partition("what does not hold is ")[2] for line in lines] == told
    assert container_node.unlimited(Settings().nodes()) == []


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs"])
@pytest.mark.parametrize("there", [True, False])
def test_ipvs_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, there: bool) -> None:
    monkeypatch.setattr(container_node, "IPVS", tmp_path if there else tmp_path / "none")
    settings = Settings.model_validate({"node": "container", "kubernetes": True, "k8s_proxy_mode": mode})
    problems = container_node.BACKEND.preflight(settings, settings.nodes())
    assert any("ip_vs" in line for line in problems) is (mode == "ipvs" and not there)


def test_cgroups_that_cannot_be_had_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "here", lambda: [])
    wanted = Settings(node="container", cgroups=True)
    told = "cgroups=yes: containers can have none of their own: no cgroups are mounted: start as root"
    assert any(told in line for line in container_node.BACKEND.preflight(wanted, wanted.nodes()))
    without = wanted.model_copy(update={"cgroups": False})
    assert not any("cgroups" in line for line in container_node.BACKEND.preflight(without, without.nodes()))


@pytest.mark.parametrize(
    ("text", "covered", "expected"),
    [
        ("         0          0 4294967295\n", True, ([[0, subids.BASE, 65536]], True)),
        ("0 1000 1\n1 100000 65536\n", False, ([[0, 0, 1], [1, 1, 65536]], True)),
        ("0 0 1\n", False, ([[0, 0, 1]], False)),
        (f"0 0 {subids.BASE + 65536}", True, ([[0, subids.BASE, 65536]], True)),
        (f"0 0 {subids.BASE + 65535}", False, ([[0, 0, subids.BASE + 65535]], True)),
    ],
)
def test_the_ids_of_a_node(tmp_path: Path, text: str, covered: bool, expected: object) -> None:
    """As root of the host has them, in a container, and a user in the namespace of a cluster."""
    (tmp_path / "uid_map").write_text(text)
    assert subids.covered(tmp_path / "uid_map") is covered
    assert container.ids(subids.BASE, tmp_path / "uid_map") == expected


def _in_child(action: Callable[[ctypes.CDLL], object]) -> int:
    """The errno of what `action` raises in a process of its own; 0 if it does not."""
    pid = os.fork()
    if not pid:
        code = 99
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.prctl(syscall_filter.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            action(libc)
            code = 0
        except OSError as error:
            code = error.errno or 98
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _pretended(libc: ctypes.CDLL) -> None:
    """As an ordinary user: what would fail says that it has worked."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    syscall_filter.pretend_ids(libc)
    os.setgroups([1, 2, 3])
    os.setresuid(1000, 1000, 1000)
    os.setgid(5)
    os.chown("/", 12, 34)
    os.fchown(0, -1, 5)
    os.lchown("/", 1, -1)
    assert os.geteuid() not in (1000, 0)


def test_ids_are_pretended() -> None:
    assert _in_child(_pretended) == 0


def test_the_kernel_answers_for_ids_that_there_are() -> None:
    def root(libc: ctypes.CDLL) -> None:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        syscall_filter.pretend_ids(libc)
        os.chown("/", 0, 0)

    assert _in_child(root) == 1  # EPERM


def test_what_the_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    class Started:
        pid = os.getpid()

    def spawn(words: list[str], *_: object, **__: object) -> Started:
        commands.append(words)
        return Started()

    monkeypatch.setattr(proc, "spawn", spawn)
    node = MIXED.node_of(2)
    layers = Layers(Path("/image"), Path("/overlays"), ("overlay a 0",), inside=("enter",))
    nics = bridge.BACKEND.nics(Workspace(tmp_path).cluster("c"), node, "fd00:", Ports(1, None))
    run = container_node.BACKEND.start(layers, node, nics, NodeDir(tmp_path / "vm-002"))
    assert commands[0][0] == "enter" and commands[0][-1] == str(tmp_path / "vm-002/container.json")
    spec = json.loads((tmp_path / "vm-002/container.json").read_text())
    assert spec["lower"] == ["/overlays", "/image"]
    assert spec["nics"][1] == ["xcbr1_t2", "xcbr1", "00:00:00:01:01:02", 1500, "xcw1_t2"]
    assert spec["env"]["container"] == "node" and run.events == ("overlay a 0",)
