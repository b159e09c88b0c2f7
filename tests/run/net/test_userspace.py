"""User-space nets: ports of the host, the switch, and that nothing of it is left."""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import process_facts
from tasks.base.paths import ClusterDir
from tasks.definitions.settings import Settings
from tasks.run.net import userspace
from tasks.run.net.protocol import Ports
from tests.conftest import eventually

BROADCAST = b"\xff" * 6
LLDP = bytes.fromhex("0180c200000e")
PATIENCE = 60.0  # seconds: a machine with other work may hold up a switch


def up(cluster: ClusterDir, *nets: int) -> None:
    """The nets of one node."""
    node = Settings(nvm=1, nets_vm=",".join(map(str, nets))).node_of(1)
    userspace.BACKEND.up(cluster, [node], "fd00:", Ports(12300, None))


def pids(cluster: ClusterDir) -> list[int]:
    """The switches that run."""
    return [pid for pid in userspace.BACKEND.processes(cluster).values() if pid]


def listen() -> socket.socket:
    """Somebody else's program, with a port of its own."""
    other = socket.socket()
    other.bind(("127.0.0.1", 0))
    other.listen()
    return other


def test_a_port_in_use_is_told_with_its_node() -> None:
    with listen() as other:
        port = other.getsockname()[1]
        (problem,) = userspace.BACKEND.preflight(Settings().nodes(), Ports(port - 202, None))
    assert f"127.0.0.1:{port}" in problem and "vm-202" in problem and "22" in problem


def test_all_ports_in_use_are_told() -> None:
    with listen() as one, listen() as other:
        ports = Ports(one.getsockname()[1] - 1, other.getsockname()[1] - 201)
        problems = userspace.BACKEND.preflight(Settings().nodes(), ports)
    assert len(problems) >= 2
    assert any("vm-201" in problem and "23" in problem for problem in problems)


def test_free_ports_and_nodes_without_net_0() -> None:
    with listen() as other:
        port = other.getsockname()[1]
        nodes = Settings(nvm=1, nrouters=0, nets_vm="1").nodes()
        assert userspace.BACKEND.preflight(nodes, Ports(port - 1, None)) == []
    assert userspace.BACKEND.preflight(Settings(nvm=1, nrouters=0).nodes(), Ports(port - 1, None)) == []


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterDir]:
    """A cluster with nets 1 and 2."""
    directory = ClusterDir(tmp_path_factory.mktemp("c"))
    up(directory, 0, 1, 2)
    yield directory
    userspace.BACKEND.down(directory)


def plug(cluster: ClusterDir, net: int) -> socket.socket:
    """A NIC on a net."""
    nic = socket.socket(socket.AF_UNIX)
    nic.settimeout(PATIENCE)
    nic.connect(str(cluster.net / str(net)))
    return nic


@contextlib.contextmanager
def plugged(cluster: ClusterDir, count: int) -> Iterator[list[socket.socket]]:
    """NICs on net 1 that the switch knows: the last one has spoken, and the others have heard it."""
    nics = [plug(cluster, 1) for _ in range(count)]
    nics[-1].sendall(frame(BROADCAST, 99, b"sync"))
    assert [heard(nic) for nic in nics[:-1]] == [b"sync"] * (count - 1)
    yield nics
    for nic in nics:
        nic.close()


def frame(to: bytes, sender: int, text: bytes) -> bytes:
    """An Ethernet frame as QEMU sends it."""
    whole = to + bytes([2, 0, 0, 0, 0, sender]) + b"\x88\xb5" + text
    return struct.pack(">I", len(whole)) + whole


def heard(nic: socket.socket) -> bytes:
    """The text of the next frame; b'' when none comes."""
    try:
        first = nic.recv(1)
    except TimeoutError:
        return b""
    (length,) = struct.unpack(">I", first + exactly(nic, 3))
    return exactly(nic, length)[14:]


def exactly(nic: socket.socket, size: int) -> bytes:
    """`size` bytes: MSG_WAITALL gives fewer on a socket with a timeout when the switch is amid a frame."""
    nic.settimeout(PATIENCE)
    content = b""
    while len(content) < size:
        piece = nic.recv(size - len(content))
        assert piece, f"the connection ended after {len(content)} of {size} bytes"
        content += piece
    return content


def quiet(*nics: socket.socket) -> bool:
    """Whether nothing comes on any of them."""
    for nic in nics:
        nic.settimeout(0.05)
        assert heard(nic) == b""
        nic.settimeout(PATIENCE)
    return True


def test_up_and_down_leave_nothing(cluster: ClusterDir) -> None:
    (pid,) = pids(cluster)
    assert process_facts.started_at(pid)
    up(cluster, 1, 2)  # a second time changes nothing
    assert pids(cluster) == [pid]
    up(cluster, 3)
    assert len(pids(cluster)) == 2
    userspace.BACKEND.down(cluster)
    assert not process_facts.started_at(pid)
    assert pids(cluster) == []
    assert list(cluster.root.iterdir()) == []
    userspace.BACKEND.down(cluster)


def test_down_after_a_crash(cluster: ClusterDir) -> None:
    (pid,) = pids(cluster)
    process_facts.kill(pid, process_facts.started_at(pid) or -1)
    assert pids(cluster) == []
    userspace.BACKEND.down(cluster)
    assert list(cluster.root.iterdir()) == []


def test_up_after_a_crash(cluster: ClusterDir) -> None:
    (pid,) = pids(cluster)
    os.kill(pid, 9)
    eventually(lambda: pids(cluster) == [])
    up(cluster, 1, 2)
    assert len(pids(cluster)) == 1
    plug(cluster, 1).close()


def test_no_nets_no_process(tmp_path: Path) -> None:
    up(ClusterDir(tmp_path), 0)
    assert list(tmp_path.iterdir()) == []


def test_sockets_are_the_users_alone(cluster: ClusterDir) -> None:
    assert [oct((cluster.net / net).stat().st_mode & 0o777) for net in ("1", "2")] == ["0o600", "0o600"]


def test_frames_reach_the_others_but_not_the_sender(cluster: ClusterDir) -> None:
    with plug(cluster, 2) as elsewhere, plugged(cluster, 3) as (a, b, c):
        a.sendall(frame(BROADCAST, 1, b"hello"))
        assert heard(b) == heard(c) == b"hello"
        b.sendall(frame(LLDP, 2, b"lldp"))  # what a bridge keeps for itself
        assert heard(a) == heard(c) == b"lldp"
        assert quiet(elsewhere)


def test_addresses_are_learned(cluster: ClusterDir) -> None:
    with plugged(cluster, 3) as (a, b, c):
        a.sendall(frame(BROADCAST, 1, b"here I am"))
        assert heard(b) == heard(c) == b"here I am"
        b.sendall(frame(bytes([2, 0, 0, 0, 0, 1]), 2, b"for you"))
        assert heard(a) == b"for you"
        assert quiet(b, c)


def test_an_address_moves(cluster: ClusterDir) -> None:
    with plugged(cluster, 3) as (a, b, c):
        for nic in (a, c):
            nic.sendall(frame(BROADCAST, 1, b"me"))
            assert heard(b) == b"me"
        assert heard(a) == heard(c) == b"me"
        b.sendall(frame(bytes([2, 0, 0, 0, 0, 1]), 2, b"x"))
        assert heard(c) == b"x"
        assert quiet(a)


def test_a_nic_that_goes_is_forgotten(cluster: ClusterDir) -> None:
    with plugged(cluster, 2) as (a, b):
        b.sendall(frame(BROADCAST, 2, b"me"))
        assert heard(a) == b"me"
        b.close()
        with plug(cluster, 1) as again:
            again.sendall(frame(BROADCAST, 3, b"here"))
            assert heard(a) == b"here"
            a.sendall(frame(bytes([2, 0, 0, 0, 0, 2]), 1, b"still there?"))
            assert heard(again) == b"still there?"


def test_frames_in_pieces_and_in_a_row(cluster: ClusterDir) -> None:
    with plugged(cluster, 2) as (a, b):
        for byte in frame(BROADCAST, 1, b"piece"):
            a.sendall(bytes([byte]))
        assert heard(b) == b"piece"
        a.sendall(b"".join(frame(BROADCAST, 1, b"%d" % i * 700) for i in range(100)))
        assert [heard(b) for _ in range(100)] == [b"%d" % i * 700 for i in range(100)]


def test_rubbish_unplugs_only_who_sends_it(cluster: ClusterDir) -> None:
    with plugged(cluster, 3) as (a, b, c):
        a.sendall(b"\xff" * 100)
        assert a.recv(10) == b""
        b.sendall(struct.pack(">I", 3) + b"abc" + frame(BROADCAST, 2, b"fine"))
        assert heard(c) == b"fine"


def test_one_that_does_not_read_does_not_hold_up_the_others(cluster: ClusterDir) -> None:
    with plugged(cluster, 3) as (a, deaf, b):
        for _ in range(80):  # 9 MB, more than waits for one
            a.sendall(frame(BROADCAST, 1, b"x" * 1400) * 80)
            assert [heard(b) for _ in range(80)] == [b"x" * 1400] * 80
        assert heard(deaf) == b"x" * 1400


@pytest.mark.parametrize("length", [45, 85, 200, 250])
def test_a_path_that_is_too_long_for_a_socket(tmp_path: Path, length: int) -> None:
    """The sockets of the switch have it, and are reached."""
    cluster = ClusterDir(tmp_path / ("x" * length) / "run" / "c")
    up(cluster, 1)
    try:
        assert userspace._answers(cluster.net / "1")
    finally:
        userspace.BACKEND.down(cluster)
    assert list(cluster.root.iterdir()) == []
