"""Bridges, taps, namespaces and what leads into them; no virtual machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.base import proc, process_facts
from tasks.base.errors import UsageError, UserError
from tasks.base.paths import ClusterDir
from tasks.definitions.settings import Settings
from tasks.run.net import bridge, custom, host_support, numbered, obstacles
from tasks.run.net.programs import holder
from tasks.run.net.protocol import Ports
from tasks.run.net.selection import decide, decided
from tests.conftest import ROOT, Fakes
from tests.ports import free_pair

pytestmark = pytest.mark.skipif(
    bool(obstacles.of_bridges()), reason=f"no bridges here: {obstacles.of_bridges()}"
)
SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    link, _ = server.accept()
    data = b""
    while more := link.recv(65536):
        data += more
    link.sendall(data[::-1])
    link.close()
"""


def run(*words: str, ok: bool = True) -> str:
    """What a command says on stdout; its stderr when it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout if ok else done.stderr


def free_ports() -> Ports:
    """Bases with a free port for nodes 1 and 2."""
    return Ports(free_pair() - 1, None)


class Space:
    """A network namespace that lives as long as a process of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*host_support.fence(), "sh", "-c", "echo ready; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout and self.process.stdout.readline() == b"ready\n"
        user = [] if host_support.capable(host_support.SYS_ADMIN) else ["--user", "--preserve-credentials"]
        self.prefix = ["nsenter", "--target", str(self.process.pid), *user, "--net"]

    def run(self, *words: str, ok: bool = True) -> str:
        """Run a command in it."""
        return run(*self.prefix, *words, ok=ok)

    def make(self, *, ok: bool = True, **plan: Any) -> str:
        """Have links.py make a plan."""
        path = self.folder / "plan.json"
        path.write_text(json.dumps(plan))
        return self.run(sys.executable, "-I", str(bridge.LINKS), str(path), ok=ok)

    def links(self) -> dict[str, Any]:
        """What `ip` says of all links."""
        return {link["ifname"]: link for link in json.loads(self.run("ip", "-d", "-j", "address"))}


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    """An empty namespace."""
    namespace = Space(tmp_path)
    yield namespace
    namespace.process.kill()
    namespace.process.wait()


def nets(*numbers: int, mtu: int = 1500) -> list[list[Any]]:
    return bridge.bridges(numbers, "fd00:", mtu)


def test_bridges_and_taps_are_as_they_should(space: Space) -> None:
    taps: list[list[Any]] = [
        [f"xcbr{net}_t{node}", f"xcbr{net}", 9000] for node in (1, 240) for net in (0, 99)
    ]
    space.make(bridges=nets(0, 99, mtu=9000), taps=taps)
    links = space.links()
    assert set(links) == {"lo", "xcbr0", "xcbr99", *(name for name, _, _ in taps)}
    assert "UP" in links["lo"]["flags"]
    host = links["xcbr99"]
    assert host["address"] == "00:00:00:01:63:fa" and host["mtu"] == 9000 and "UP" in host["flags"]
    assert int(host["linkinfo"]["info_data"]["group_fwd_mask"], 16) == 0x4000, "LLDP has to pass"
    addresses = {(each["local"], each["prefixlen"]) for each in host["addr_info"]}
    assert {("192.168.99.250", 24), ("fd00::c0a8:63fa", 120)} <= addresses
    assert not any(each.get("tentative") for each in host["addr_info"] if each["scope"] == "global")
    for name, master, _ in taps:
        assert links[name]["master"] == master and links[name]["mtu"] == 9000 and "UP" in links[name]["flags"]
        assert links[name]["addr_info"] == [], "a tap has no address, the host would speak on it"


def test_a_second_time_changes_nothing(space: Space) -> None:
    taps = [["xcbr1_t1", "xcbr1", 1500]]
    space.make(bridges=nets(1), taps=taps)
    before = space.links()
    space.make(bridges=nets(1), taps=taps)
    after = space.links()
    assert {name: link["ifindex"] for name, link in before.items()} == {
        name: link["ifindex"] for name, link in after.items()
    }
    assert after["xcbr1"]["addr_info"][0]["local"] == "192.168.1.250"


def test_a_node_with_a_smaller_mtu_takes_nothing_from_the_others(space: Space) -> None:
    space.make(bridges=nets(1, mtu=9000), taps=[["xcbr1_t1", "xcbr1", 9000]])
    space.make(bridges=nets(1), taps=[["xcbr1_t2", "xcbr1", 1500]])
    assert space.links()["xcbr1"]["mtu"] == 9000


def test_bridges_without_a_tap_go_but_not_those_of_others(space: Space) -> None:
    space.run("ip", "link", "add", "xcbr0", "address", "02:00:00:00:00:07", "type", "bridge")
    space.make(bridges=nets(2), keep=True)
    taps = [["xcbr0_t1", "xcbr0", 9000], ["xcbr1_t1", "xcbr1", 9000], ["xcbr1_t2", "xcbr1", 9000]]
    space.make(bridges=nets(0, 1, 2, mtu=9000), taps=taps)
    assert space.links()["xcbr0"]["address"] == "02:00:00:00:00:07" and space.links()["xcbr0"]["mtu"] == 9000
    space.make(gone=["xcbr0_t1", "xcbr1_t1", "never-there"])
    assert set(space.links()) == {"lo", "xcbr0", "xcbr1", "xcbr2", "xcbr1_t2"}
    space.make(gone=["xcbr1_t2"])
    assert set(space.links()) == {"lo", "xcbr0", "xcbr2"}


def test_a_tap_of_a_crash_is_used_again_one_in_use_is_not(space: Space) -> None:
    space.run("ip", "tuntap", "add", "dev", "xcbr0_t1", "mode", "tap")  # and nobody has it
    space.make(bridges=nets(0), taps=[["xcbr0_t1", "xcbr0", 1500]])
    holding = (
        "import fcntl, struct, sys; file = open('/dev/net/tun', 'r+b', buffering=0);"
        "fcntl.ioctl(file, 0x400454ca, struct.pack('16sH22x', b'xcbr0_t1', 0x5002));"
        "print('ready', flush=True); sys.stdin.read()"
    )
    words = [*space.prefix, sys.executable, "-c", holding]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline() == b"ready\n"
        output = space.make(bridges=nets(0), taps=[["xcbr0_t1", "xcbr0", 1500]], ok=False)
    assert "xcbr0_t1" in output and "another cluster" in output and "Traceback" not in output


LLDP = """
import socket
frame = bytes.fromhex("0180c200000e 020000000001 88cc 020704 000000010163").ljust(60, bytes(1))
ports = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88CC)) for _ in range(2)]
for port, name in zip(ports, ("left", "right")):
    port.bind((name, 0x88CC))
    port.settimeout(20)
ports[0].send(frame)
print(ports[1].recv(100)[12:14].hex())
"""


def test_lldp_passes_a_bridge(space: Space) -> None:
    space.make(bridges=nets(1))
    for name in ("left", "right"):
        space.run("ip", "link", "add", name, "up", "type", "veth", "peer", "name", f"{name}1")
        space.run("ip", "link", "set", f"{name}1", "master", "xcbr1", "up")
    assert space.run(sys.executable, "-c", LLDP) == "88cc\n"


def test_what_fails_is_told_by_name(space: Space) -> None:
    output = space.make(bridges=nets(0), taps=[["xcbr0_t1", "xcbr0", 70000]], ok=False)
    assert output.startswith("xcbr0_t1: ") and "Traceback" not in output


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterDir]:
    """A cluster's directory."""
    directory = ClusterDir(tmp_path / "c")
    directory.root.mkdir()
    yield directory
    bridge.BACKEND.down(directory)


NODES = Settings(nvm=2, nrouters=0).nodes()


def pids(cluster: ClusterDir) -> dict[str, int]:
    processes = bridge.BACKEND.processes(cluster)
    return {name: pid for name, pid in processes.items() if pid}


def guest_of(inside: Sequence[str]) -> "subprocess.Popen[bytes]":
    """A process in the namespace."""
    guest = subprocess.Popen([*inside, "sh", "-c", "echo ready; exec sleep 1000"], stdout=subprocess.PIPE)
    assert guest.stdout and guest.stdout.readline() == b"ready\n"
    return guest


def gone(numbers: Sequence[int]) -> bool:
    """Whether all these processes end, soon."""
    end = time.monotonic() + 60
    while any(process_facts.started_at(number) for number in numbers) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(process_facts.started_at(number) for number in numbers)


def up(cluster: ClusterDir, ports: Ports, nodes: Any = NODES) -> list[str]:
    bridge.BACKEND.up(cluster, nodes, "fd00:", ports)
    return bridge.BACKEND.inside(cluster)


def talk(at: tuple[str, int], data: bytes) -> bytes:
    """Say all, close our side, and hear all."""
    with socket.create_connection(at, timeout=10) as link:

        def say() -> None:
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=say)
        sender.start()
        heard = b""
        while more := link.recv(65536):
            heard += more
        sender.join()
        return heard


def test_forwards_carry_all_bytes_and_both_ends(cluster: ClusterDir) -> None:
    ports = free_ports()
    inside = up(cluster, ports)
    run(*inside, "ip", "address", "add", "192.168.0.1/32", "dev", "lo")
    with subprocess.Popen(
        [*inside, sys.executable, "-c", SERVER, "192.168.0.1", "22"], stdout=subprocess.PIPE
    ) as server:
        assert server.stdout and server.stdout.readline() == b"ready\n"
        data = os.urandom(3_000_000)
        assert bridge.BACKEND.ssh(cluster, 1, ports) == ("127.0.0.1", ports.ssh + 1)
        assert talk(("127.0.0.1", ports.ssh + 1), data) == data[::-1]
        with socket.create_connection(("127.0.0.1", ports.ssh + 1)):  # one that says nothing holds up nobody
            pass
        assert talk(("127.0.0.1", ports.ssh + 1), b"abc") == b"cba"
        server.kill()


def test_a_forward_to_a_node_that_is_not_there_ends(cluster: ClusterDir) -> None:
    ports = free_ports()
    inside = up(cluster, ports)
    run(*inside, "ip", "address", "add", "192.168.0.1/32", "dev", "lo")
    with socket.create_connection(("127.0.0.1", ports.ssh + 1), timeout=10) as link:
        assert link.recv(10) == b""


@pytest.mark.parametrize("uplink", host_support.UPLINKS)
def test_what_is_inside_reaches_the_loopback_of_the_host(
    cluster: ClusterDir, uplink: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not proc.find(uplink):
        pytest.skip(f"{uplink} is not here")
    monkeypatch.setattr(host_support, "UPLINKS", (uplink,))
    inside = up(cluster, free_ports())
    assert uplink in Path(f"/proc/{pids(cluster)['uplink']}/cmdline").read_text()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        code = (
            "import socket, sys; socket.create_connection(('10.0.2.2', int(sys.argv[1])), 10).sendall(b'x')"
        )
        run(*inside, sys.executable, "-c", code, port)
        server.settimeout(10)
        link, _ = server.accept()
        assert link.recv(10) == b"x"
        link.close()
    assert "masquerade" in run(*inside, "nft", "list", "ruleset")


def test_nothing_is_seen_on_the_host(cluster: ClusterDir) -> None:
    before = socket.if_nameindex()
    inside = up(cluster, free_ports())
    assert socket.if_nameindex() == before
    names = {link["ifname"] for link in json.loads(run(*inside, "ip", "-j", "link"))}
    assert names == {"lo", host_support.UP, "xcbr0", "xcbr1", "xcbr0_t1", "xcbr1_t1", "xcbr0_t2", "xcbr1_t2"}


def test_unplug_and_plug_again(cluster: ClusterDir) -> None:
    ports = free_ports()
    inside = up(cluster, ports)
    bridge.BACKEND.unplug(cluster, 2, ports)
    assert not {name for name in run(*inside, "ip", "-o", "link").split() if "_t2" in name}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports.ssh + 2)).close()
    socket.create_connection(("127.0.0.1", ports.ssh + 1)).close()
    up(cluster, ports, NODES[1:])
    socket.create_connection(("127.0.0.1", ports.ssh + 2)).close()
    assert "xcbr1_t2" in run(*inside, "ip", "-o", "link")


@pytest.mark.parametrize("victim", ["holder", "namespace"])
def test_when_the_holder_is_killed_everything_vanishes(cluster: ClusterDir, victim: str) -> None:
    ports = free_ports()
    inside = up(cluster, ports)
    with guest_of(inside) as guest:
        there = [*pids(cluster).values(), guest.pid]
        assert len(there) == 4
        os.kill(pids(cluster)[victim], signal.SIGKILL)
        assert guest.wait(60) == -signal.SIGKILL
    assert gone(there)
    assert bridge.BACKEND.processes(cluster) == {"holder": None, "namespace": None, "uplink": None}
    with pytest.raises(UserError, match="process that kept it has died"):
        up(cluster, ports)
    bridge.BACKEND.unplug(cluster, 1, ports)
    bridge.BACKEND.down(cluster)
    assert list(cluster.root.iterdir()) == []
    up(cluster, ports)


def test_down_ends_what_runs_inside_and_leaves_nothing(cluster: ClusterDir) -> None:
    inside = up(cluster, free_ports())
    with guest_of(inside) as guest:
        there = [*pids(cluster).values(), guest.pid]
        bridge.BACKEND.down(cluster)
        guest.wait(60)
    assert gone(there)
    assert list(cluster.root.iterdir()) == []
    bridge.BACKEND.down(cluster)


def test_an_uplink_that_ends_is_told_and_holds_up_nobody(cluster: ClusterDir) -> None:
    up(cluster, free_ports())
    os.kill(pids(cluster)["uplink"], signal.SIGKILL)
    assert gone([pid for name, pid in pids(cluster).items() if name == "uplink"])
    assert bridge.BACKEND.processes(cluster)["uplink"] is None and len(pids(cluster)) == 2


def test_a_port_in_use_is_told(cluster: ClusterDir) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = Ports(other.getsockname()[1] - 1, None)
        (problem,) = bridge.BACKEND.preflight(NODES[:1], ports)
        assert f"127.0.0.1:{ports.ssh + 1}" in problem and "vm-001" in problem
        with pytest.raises(UserError, match=f"127.0.0.1:{ports.ssh + 1}"):
            up(cluster, ports)


def test_an_mtu_that_no_tap_has_is_told_before() -> None:
    nodes = Settings(nvm=1, nrouters=0, mtu=65535).nodes()
    assert any("65521" in problem for problem in bridge.BACKEND.preflight(nodes, free_ports()))


def test_two_clusters_do_not_know_of_each_other(cluster: ClusterDir, tmp_path: Path) -> None:
    other = ClusterDir(tmp_path / "other")
    other.root.mkdir()
    try:
        up(cluster, free_ports())
        up(other, free_ports())
        run(*bridge.BACKEND.inside(cluster), "ip", "link", "del", "xcbr1_t1")
        assert "xcbr1_t1" in run(*bridge.BACKEND.inside(other), "ip", "-o", "link")
    finally:
        bridge.BACKEND.down(other)
    assert len(pids(cluster)) == 3


ASK = """
from tasks.definitions.settings import Settings
from tasks.run.net.selection import decide
from tasks.run.net import obstacles
print(obstacles.of_bridges())
print(decide(Settings()))
"""


def ask(*prefix: str, path: str = "", temporary: Path | None = None) -> str:
    """What a fresh process thinks of bridges, in other circumstances."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **({"PATH": path} if path else {})}
    if temporary:
        env["TMPDIR"] = str(temporary)
    words = [*prefix, sys.executable, "-c", ASK]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=env, cwd=ROOT).stdout


def test_programs_that_are_missing_are_all_told(tmp_path: Path) -> None:
    output = ask(path=str(tmp_path))
    for text in ("'nsenter' is missing", "apt-get install", "util-linux", "neither slirp4netns nor pasta"):
        assert text in output
    assert "('userspace', \"no bridges: 'nsenter' is missing\")" in output


@pytest.mark.parametrize("key", ["user.max_user_namespaces", "user.max_net_namespaces"])
def test_a_sysctl_that_forbids_namespaces_is_named(key: str) -> None:
    forbid = f'echo 0 > /proc/sys/{key.replace(".", "/")}; exec "$@"'
    drop = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    output = ask("unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", *drop)
    assert f"{key} is 0" in output and "('userspace', " in output


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a device of its own")
@pytest.mark.parametrize(
    ("device", "says"),
    [("", "there is no /dev/net/tun"), ("mknod -m 0 /dev/net/tun c 10 200;", "permission")],
)
def test_a_tun_device_that_cannot_be_used_is_told(device: str, says: str) -> None:
    setup = f'mount -t tmpfs none /dev/net; {device} exec "$@"'
    user = [
        "setpriv",
        "--bounding-set=-dac_override",
        "--inh-caps=-dac_override",
        "--securebits=+noroot,+noroot_locked",
    ]
    output = ask("unshare", "--mount", "sh", "-c", setup, "sh", *(user if device else []))
    assert says in output and "('userspace', " in output


FAILING = {
    "nft": "Operation not supported",
    "slirp4netns": "open /dev/net/tun: nothing",
    "ip": "Unknown device type",
}


@pytest.mark.parametrize("name", FAILING)
def test_a_program_that_fails_leads_to_user_space(fakes: Fakes, name: str) -> None:
    """What a start calls has to work, not only to be there; the reason is what it says."""
    fakes.program(name, f'echo "{FAILING[name]}" >&2; exit 1')
    output = ask()
    assert "('userspace', " in output and FAILING[name] in output


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
def test_sysctls_that_cannot_be_written_lead_to_user_space() -> None:
    """As in Docker, where root may make namespaces and links."""
    readonly = 'mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys; exec "$@"'
    output = ask("unshare", "--mount", "sh", "-c", readonly, "sh")
    assert "('userspace', " in output and "Read-only file system" in output


def test_the_trial_leaves_nothing(tmp_path: Path) -> None:
    assert "('bridge', " in ask(temporary=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_loopback_that_is_down_is_told() -> None:
    code = (
        "from tasks.definitions.settings import Settings\n"
        "from tasks.run.net import userspace\n"
        "from tasks.run.net.protocol import Ports\n"
        "nodes = Settings(nvm=1, nrouters=0).nodes()\n"
        "print(userspace.BACKEND.preflight(nodes, Ports(12300, None)))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [*host_support.fence(), sys.executable, "-c", code]
    output = subprocess.run(words, capture_output=True, text=True, check=True, env=env).stdout
    assert "the loopback of this network namespace is down: ip link set lo up" in output


def test_a_host_without_ipv6(tmp_path: Path) -> None:
    """Where the host has switched it off, bridges have IPv4 only, and taps are up all the same."""
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(bridge.plan(Settings(nvm=1, nrouters=0).nodes(), "fd00:")))
    off = "for each in all default; do echo 1 >/proc/sys/net/ipv6/conf/$each/disable_ipv6; done"
    shell = f'{off}; "$0" -I "$1" "$2" && ip -json address'
    words = [*host_support.fence(), "sh", "-c", shell, sys.executable, str(bridge.LINKS), str(plan)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    there = {each["ifname"]: each for each in json.loads(done.stdout)}
    assert {"xcbr0", "xcbr1", "xcbr0_t1", "xcbr1_t1"} <= there.keys()
    assert all("UP" in each["flags"] for each in there.values())
    assert [each["local"] for each in there["xcbr1"]["addr_info"]] == ["192.168.1.250"]


def test_auto_takes_bridges_and_says_why() -> None:
    name, why = decide(Settings())
    assert name == "bridge" and host_support.uplink() in why.split()
    assert decide(Settings(net="userspace")) == ("userspace", "as asked for")
    assert decide(Settings(net_setup="/x"))[0] == "custom"
    assert decided(Settings(net_setup="x")).net_setup == str(Path("x").absolute())
    assert decide(Settings(net="bridge", net_setup="/x"))[0] == "bridge"


def test_names_and_addresses_of_a_numbered_namespace() -> None:
    space = numbered.named("7", "anna", "172.30.0.0/24", "fd00:1723::")
    assert (space.name, space.outer, space.inner) == ("anna_xcluster7", "xcluster7", "host7")
    assert (space.host, space.own) == ("172.30.0.15", "172.30.0.14")
    assert (space.host6, space.own6) == ("fd00:1723::ac1e:f", "fd00:1723::ac1e:e")
    inner = numbered.inner_rules(space, "fd00:")
    assert [str(net) for net in inner.sources] == ["192.168.0.0/24", "fd00::c0a8:0/120"]
    outer = numbered.outer_rules("xcluster7", "172.30.0.0/22", "fd00:1723::")
    assert [str(net) for net in outer.sources] == ["172.30.0.0/22", "fd00:1723::ac1e:0/118"]


@pytest.mark.parametrize(
    ("word", "base", "prefix"),
    [
        ("x", "172.30.0.0/24", "fd00::"),
        ("0", "172.30.0.0/24", "fd00::"),
        ("-1", "172.30.0.0/24", "fd00::"),
        ("1000", "172.30.0.0/16", "fd00::"),
        ("128", "172.30.0.0/24", "fd00::"),  # address 257 of 256
        ("1", "172.30.0.1/24", "fd00::"),
        ("1", "nonsense", "fd00::"),
        ("1", "172.30.0.0/24", "fd00"),
    ],
)
def test_a_namespace_that_cannot_be(word: str, base: str, prefix: str) -> None:
    with pytest.raises(UsageError):
        numbered.named(word, "anna", base, prefix)


def script(folder: Path, text: str, mode: int = 0o755) -> str:
    path = folder / "setup"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


def test_options_of_a_users_program(tmp_path: Path) -> None:
    text = "echo \"-netdev user,id=n$2 -device 'virtio-net-pci,netdev=n$2,mac=$__mac' -x '$1 $__mtu'\""
    backend = custom.Custom(script(tmp_path, text))
    nodes = Settings(nvm=3, nrouters=0, mtu=9000).nodes()
    place_ = ClusterDir(tmp_path / "c")
    assert backend.preflight(nodes, free_ports()) == []
    backend.up(place_, nodes, "fd00:", free_ports())
    zero, one = backend.nics(place_, nodes[2], "fd00:", free_ports())
    assert getattr(one, "options", ()) == (
        "-netdev", "user,id=n1", "-device", "virtio-net-pci,netdev=n1,mac=00:00:00:01:01:03", "-x", "3 9000",
    )  # fmt: skip
    assert zero.net == 0
    backend.down(place_)


def test_a_users_program_reads_settings_by_their_names_of_upstream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"XC_NVM": "7", "__nvm": "2", "XC_MTU": "8000"}.items():
        monkeypatch.setenv(name, value)
    backend = custom.Custom(script(tmp_path, 'echo "-x $__nvm -y $__mtu"'))
    place_ = ClusterDir(tmp_path / "c")
    backend.up(place_, NODES, "fd00:", free_ports())
    nic, *_ = backend.nics(place_, NODES[0], "fd00:", free_ports())
    assert getattr(nic, "options", ()) == ("-x", "7", "-y", str(NODES[0].mtu)), "the node's own MTU"
    backend.down(place_)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("exit 3", "exit code 3"),
        ("echo broken >&2; exit 1", "broken"),
        ("true", "printed nothing"),
        ("echo all is well", "no options"),
        ('echo "-netdev \'x"', "cannot be split"),
    ],
)
def test_a_users_program_that_does_not_do_it(tmp_path: Path, text: str, says: str) -> None:
    backend = custom.Custom(script(tmp_path, text))
    backend.up(ClusterDir(tmp_path / "c"), NODES, "fd00:", free_ports())
    with pytest.raises(UserError, match=says) as caught:
        backend.nics(ClusterDir(tmp_path / "c"), NODES[0], "fd00:", free_ports())
    assert "net_setup" in str(caught.value)


def test_a_users_program_that_is_none(tmp_path: Path) -> None:
    for path in ("", str(tmp_path), str(tmp_path / "absent"), script(tmp_path, "true", 0o644)):
        (problem,) = custom.Custom(path).preflight(NODES, free_ports())
        assert "net-setup" in problem or "net_setup" in problem


CUSTOM = """
import pathlib, socket, sys
from tasks.base.paths import ClusterDir
from tasks.definitions.settings import Settings
from tasks.run.net.protocol import Ports
from tasks.run.net import custom
nodes, ports = Settings(nvm=2, nrouters=0).nodes(), Ports(12300, None)
backend, cluster = custom.Custom(sys.argv[1]), ClusterDir(pathlib.Path(sys.argv[2]))
backend.up(cluster, nodes, "fd00:", ports)
for node in nodes:
    backend.nics(cluster, node, "fd00:", ports)
print(len(socket.if_nameindex()))
backend.unplug(cluster, 1, ports)
print(len(socket.if_nameindex()))
backend.down(cluster)
print(len(socket.if_nameindex()))
"""


def test_links_of_a_users_program_go_with_the_cluster(tmp_path: Path, space: Space) -> None:
    program = script(tmp_path, 'ip tuntap add dev own$1_$2 mode tap && echo "-netdev tap,ifname=own$1_$2"')
    words = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-c", CUSTOM, program, str(tmp_path / "c")]
    assert space.run(*words).split() == ["5", "3", "1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("other:100000:65536\n", None),
        ("me:100000:65536\n", (100000, 65536)),
        ("other:1:65536\nme:5:10\n1000:300000:131072\n", (300000, 65536)),
        ("me:many\nme:7\nme:2:65536", (2, 65536)),
        ("\xff:::\n", None),
    ],
)
def test_subordinate_ids(tmp_path: Path, text: str, expected: tuple[int, int] | None) -> None:
    (tmp_path / "subuid").write_text(text)
    assert holder.subordinate(tmp_path / "subuid", {"me", "1000"}) == expected
    assert holder.subordinate(tmp_path / "none", {"me"}) is None
