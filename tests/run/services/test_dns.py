"""The DNS server: names from files, its configuration, and real servers that start, change and end."""

import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tasks.base import proc, process_facts
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tasks.run.net import dns_place, dns_server
from tasks.run.services import dns as policy
from tests.conftest import ROOT, Fakes, eventually
from tests.ports import free_port
from tests.run.running.clusters import started

KINDS = {"A": 1, "PTR": 12, "AAAA": 28}
IN_A_NAMESPACE = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def ask(port: int, name: str, kind: str, *, tcp: bool = False) -> tuple[int, list[bytes]]:
    """The response code, and the data of each answer, from the server at a port of loopback."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", KINDS[kind], 1)
    with socket.socket(type=socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as link:
        link.settimeout(10)
        link.connect(("127.0.0.1", port))
        link.sendall(struct.pack(">H", len(question)) + question if tcp else question)
        answer = link.recv(4096)
        while tcp and len(answer) < 2 + int.from_bytes(answer[:2]):
            answer += link.recv(4096)
    answer = answer[2:] if tcp else answer
    count = struct.unpack_from(">H", answer, 6)[0]
    at, addresses = len(question), []
    for _ in range(count):
        while 0 < answer[at] < 0xC0:  # the name: labels, then an end or a pointer, which has one byte more
            at += 1 + answer[at]
        at += 0 if answer[at] else -1
        (length,) = struct.unpack_from(">H", answer, at + 10)
        addresses.append(answer[at + 12 : at + 12 + length])
        at += 12 + length
    return answer[3] & 15, addresses


def ip(text: str) -> bytes:
    """An address as it is sent."""
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def test_a_hosts_file() -> None:
    text = "# names\n192.0.2.1 one One.Example.  # a comment\n\n2001:db8::1\ttwo\n"
    pairs, problems = dns_server.read_hosts(text, "f")
    assert problems == []
    assert pairs == [("192.0.2.1", "one"), ("192.0.2.1", "one.example"), ("2001:db8::1", "two")]


def test_all_that_is_wrong_with_a_hosts_file() -> None:
    _, problems = dns_server.read_hosts("192.0.2 a\n192.0.2.1\n192.0.2.1 a..b\n192.0.2.2 fine -x\n", "names")
    assert [problem.split(":")[0] for problem in problems] == [f"names, line {line}" for line in (1, 2, 3, 4)]


def test_nodes_are_known_by_their_first_net_beyond_net_0() -> None:
    settings = Settings(ntesters=1, per_node={"nets10": "0,3", "nets2": "0"})
    assert policy.addresses_of(settings.node_of(1), "fd00:") == ("192.168.1.1", "fd00::192.168.1.1")
    assert policy.addresses_of(settings.node_of(201), "fd00:")[0] == "192.168.1.201"
    assert policy.addresses_of(settings.node_of(221), "fd01:") == ("192.168.2.221", "fd01::192.168.2.221")
    assert policy.addresses_of(settings.node_of(10), "fd00:")[0] == "192.168.3.10"
    assert policy.addresses_of(settings.node_of(2), "fd00:")[0] == "192.168.0.2"


def test_your_own_coredns_comes_first_and_then_ours(
    fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPATH", str(tmp_path / "go"))
    monkeypatch.setattr(proc, "find", lambda name: {"dnsmasq": "/usr/sbin/dnsmasq"}.get(name))
    assert dns_server.program(tmp_path / "bin") == "/usr/sbin/dnsmasq"
    monkeypatch.delenv("GOBIN", raising=False)
    for folder in ("bin", "go/bin"):
        path = tmp_path / folder / "coredns"
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        assert dns_server.program(tmp_path / "bin") == str(path)
    monkeypatch.setattr(proc, "find", lambda name: None)
    assert dns_server.program(tmp_path / "bin") == str(path)
    path.chmod(0o644)  # nobody may execute it
    assert dns_server.program(tmp_path / "bin") == str(tmp_path / "bin/coredns")
    (tmp_path / "bin/coredns").unlink()
    assert dns_server.program(tmp_path / "bin") is None


def test_what_coredns_is_told(tmp_path: Path) -> None:
    place = dns_place.DnsServer(tmp_path, ("192.168.0.250",), 5300)
    text = dns_server.corefile(place, dns_server.Zone((), ("xcluster",)))
    assert "xcluster:5300 {" in text and ".:5300 {" in text and text.count("bind 192.168.0.250") == 2
    assert "forward . /etc/resolv.conf" in text
    pretended = dns_server.corefile(place, dns_server.Zone((), ("xcluster",), "203.0.113.80"))
    assert "forward" not in pretended and "IN A 203.0.113.80" in pretended


ZONE = dns_server.Zone(
    (
        ("192.168.1.1", "vm-001"),
        ("fd00::192.168.1.1", "vm-001"),
        ("192.168.1.1", "vm-001.xcluster"),
        ("192.0.2.7", "seven.example"),
    ),
    ("xcluster",),
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[dns_place.DnsServer]:
    """A place with a port of its own."""
    server = dns_place.DnsServer(tmp_path / "dns", ("127.0.0.1",), free_port())
    yield server
    dns_server.down(server)


BIN = ROOT / "workspace" / "bin"
# CoreDNS is compiled for minutes, so it is no must here: tests/overlays/test_coredns.py makes it and asks it.
SERVERS = ["dnsmasq", *(["coredns"] if dns_server.program(BIN, "coredns") else [])]


@pytest.fixture(params=SERVERS)
def program(request: pytest.FixtureRequest) -> str:
    """Each program that there is."""
    path = dns_server.program(BIN, request.param)
    assert path
    return path


def test_a_server_answers_names_backwards_too_by_udp_and_tcp(
    place: dns_place.DnsServer, program: str
) -> None:
    assert dns_server.up(place, program, ZONE)
    for tcp in (False, True):
        assert ask(place.port, "vm-001", "A", tcp=tcp) == (0, [ip("192.168.1.1")])
        assert ask(place.port, "vm-001", "AAAA", tcp=tcp) == (0, [ip("fd00::192.168.1.1")])
        assert ask(place.port, "1.1.168.192.in-addr.arpa", "PTR", tcp=tcp)[1][0] == b"\6vm-001\0"
    assert ask(place.port, "vm-001.xcluster", "A") == (0, [ip("192.168.1.1")])


def test_what_only_we_know_is_asked_of_nobody(place: dns_place.DnsServer, program: str) -> None:
    """Without a network this must be quick: it is answered, not timed out."""
    dns_server.up(place, program, ZONE)
    assert ask(place.port, "seven.example", "A") == (0, [ip("192.0.2.7")])
    assert ask(place.port, "seven.example", "AAAA") == (0, [])
    assert ask(place.port, "vm-999.xcluster", "A") == (3, [])
    assert ask(place.port, "vm-999", "A") == (3, [])


def test_a_pretended_internet_has_every_name(place: dns_place.DnsServer, program: str) -> None:
    dns_server.up(place, program, dns_server.Zone(ZONE.hosts, ZONE.domains, "203.0.113.80"))
    assert ask(place.port, "www.google.se", "A") == (0, [ip("203.0.113.80")])
    assert ask(place.port, "www.google.se", "AAAA") == (0, [])
    assert ask(place.port, "vm-001", "A") == (0, [ip("192.168.1.1")])
    assert ask(place.port, "vm-999.xcluster", "A") == (3, [])


def test_the_same_zone_changes_nothing_and_another_one_does(place: dns_place.DnsServer, program: str) -> None:
    dns_server.up(place, program, ZONE)
    first = dns_server.running(place)
    assert not dns_server.up(place, program, ZONE)
    assert dns_server.running(place) == first
    assert dns_server.up(place, program, dns_server.Zone((("192.168.1.2", "vm-002"),)))
    assert not process_facts.started_at(first or 0)
    assert ask(place.port, "vm-001", "A")[0] == 3
    assert ask(place.port, "vm-002", "A") == (0, [ip("192.168.1.2")])


def test_a_server_that_was_killed_is_started_again(place: dns_place.DnsServer, program: str) -> None:
    dns_server.up(place, program, ZONE)
    pid = dns_server.running(place)
    os.kill(pid or 0, signal.SIGKILL)
    eventually(lambda: dns_server.running(place) is None)
    assert dns_server.up(place, program, ZONE)
    assert ask(place.port, "vm-001", "A")[0] == 0


def test_down_leaves_nothing(place: dns_place.DnsServer, program: str) -> None:
    dns_server.up(place, program, ZONE)
    pid = dns_server.running(place) or 0
    assert dns_server.down(place)
    assert not process_facts.started_at(pid) and not place.folder.exists()
    assert not dns_server.down(place)


def test_a_port_that_somebody_has_is_told_with_its_owner(place: dns_place.DnsServer, program: str) -> None:
    assert dns_server.taken(place.port, None) is None
    with socket.socket() as other:
        other.bind(("127.0.0.1", place.port))
        other.listen()
        assert f"process {os.getpid()}" in (dns_server.taken(place.port, None) or "")
        with pytest.raises(UserError, match=r"did not start.*in use"):
            dns_server.up(place, program, ZONE)
    assert not place.folder.exists()
    dns_server.up(place, program, ZONE)
    assert dns_server.taken(place.port, dns_server.running(place)) is None
    assert Path(program).name in (dns_server.taken(place.port, None) or "")


def test_a_server_in_a_namespace(tmp_path: Path, program: str) -> None:
    """What a backend with namespaces needs: other words in front, another address, the same readiness."""
    port = free_port()
    place = dns_place.DnsServer(tmp_path / "dns", ("127.0.0.1",), port, IN_A_NAMESPACE)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))  # the same port outside is another port
        other.listen()
        dns_server.up(place, program, ZONE)
        assert dns_server.running(place)
    dns_server.down(place)


def test_a_server_of_a_whole_network_listens_everywhere(tmp_path: Path, program: str) -> None:
    """`netstat -lputan | grep :::10053` finds it, by TCP and UDP."""
    place = dns_place.DnsServer(tmp_path / "dns", dns_place.EVERYWHERE, free_port(), IN_A_NAMESPACE)
    dns_server.up(place, program, ZONE)
    for table in ("tcp6", "udp6"):
        lines = Path(f"/proc/{dns_server.running(place)}/net/{table}").read_text().split()
        assert f"{'0' * 32}:{place.port:04X}" in lines, table
    dns_server.down(place)


@pytest.mark.parametrize("choice", ["coredns", "dnsmasq"])
def test_a_program_that_was_chosen_and_is_not_there(
    tmp_path: Path, choice: Literal["coredns", "dnsmasq"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one does not take its place: the start is refused before anything runs."""
    other = {"coredns": "dnsmasq", "dnsmasq": "coredns"}[choice]
    monkeypatch.setenv("GOPATH", str(tmp_path))
    monkeypatch.setattr(proc, "find", lambda name: f"/usr/bin/{name}" if name == other else None)
    wanted = Settings(dns="on", dns_server=choice, net="bridge")
    (problem,) = policy.preflight(wanted, Workspace(tmp_path))
    assert choice in problem and {"coredns": "artifact:coredns", "dnsmasq": "dnsmasq-base"}[choice] in problem
    assert policy.preflight(Settings(dns="on", net="bridge"), Workspace(tmp_path)) == []


def test_shared_servers_by_the_network_they_are_in(tmp_path: Path) -> None:
    main, there = (dns_place.shared(tmp_path, name) for name in (None, "anna_xcluster1"))
    assert main.folder.name == ".dns" and there.folder.name == ".dns-anna_xcluster1"
    assert dns_place.others(tmp_path, None) == []
    for each in (main, there):
        each.folder.mkdir()
        each.kept.touch()
    assert [each.folder for each in dns_place.others(tmp_path, None)] == [there.folder]
    assert [each.folder for each in dns_place.others(tmp_path, "anna_xcluster1")] == [main.folder]


def test_nobody_needs_a_server(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    policy.refresh(workspace)
    assert list(tmp_path.iterdir()) == []
    workspace.run.mkdir()
    policy.refresh(workspace)
    assert list(workspace.run.iterdir()) == []


def test_a_dead_cluster_needs_no_server(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    directory = started(workspace, Settings(name="dead", nvm=1, nrouters=0), pid=os.getpid(), start=1)
    policy.refresh(workspace)
    assert not (workspace.run / ".dns").exists()
    (directory.root / "dns.hosts").write_bytes(b"\xff\xfe")
    directory.state.write_text("")
    policy.refresh(workspace)
    assert not (workspace.run / ".dns").exists()


def test_problems_of_the_names_are_told_before_a_start(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("192.0.2.1 a\n192.0.2 b\n")
    (problem,) = policy.preflight(Settings(dns_hosts=str(names)), Workspace(tmp_path))
    assert "line 2" in problem and "192.0.2" in problem
    (problem,) = policy.preflight(Settings(dns_hosts="not/there"), Workspace(tmp_path))
    assert "not/there" in problem and "No such file" in problem
    assert policy.preflight(Settings(dns="off", dns_hosts="not/there"), Workspace(tmp_path)) == []
