"""What a user gets from `start`: nodes that answer, a true summary, nothing left after `stop`."""

import itertools
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.definitions.roles import COLOUR, role_of
from tests.boot.conftest import WORKSPACE, Cluster, assert_nothing_left, interrupt, processes_of
from tests.conftest import eventually
from tests.display import Display, display

pytestmark = pytest.mark.boot


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Display]:
    """A display of our own."""
    with display(tmp_path) as own:
        yield own


def test_default_cluster_answers_and_leaves_nothing(screen: Display) -> None:
    cluster = Cluster("t-default", {"DISPLAY": screen.name})
    done = cluster.xc("start")
    summary = done.stderr.strip().splitlines()[-1]
    assert re.match(
        r"6 nodes in \d+\.\d s, accel=(tcg|kvm) \(.+\), \d+ MiB real memory "
        r"\(768 MiB configured\), .+ downloaded",
        summary,
    )
    nodes = {node["number"]: node for node in cluster.status()["nodes"]}
    assert sorted(nodes) == [1, 2, 3, 4, 201, 202]
    assert all(node["state"] == "alive" for node in nodes.values())
    for number in nodes:
        assert cluster.rsh(number, "hostname").strip() == f"vm-{number:03d}"
    assert sum("qemu-system" in command for command in processes_of("t-default")) == 6
    assert {node["pid"] for node in nodes.values()} != {None} and cluster.status()["dead"] == []
    consoles_are_in_windows(cluster, screen)
    cluster.xc("stop")
    assert_nothing_left("t-default")
    eventually(lambda: screen.windows() == {})
    assert "not running" in cluster.xc("stop").stderr


def consoles_are_in_windows(cluster: Cluster, screen: Display) -> None:
    """Each node has a window in the raster, and so has one that is added; a removed one loses it."""
    names = ["vm-001", "vm-002", "vm-003", "vm-004", "vm-201", "vm-202"]
    eventually(lambda: sorted(screen.windows()) == names)
    cluster.xc("scaleout", "221")
    cluster.xc("xvm", "5")
    eventually(lambda: len(screen.windows()) == 8)
    again = cluster.xc("xvm", "5", ok=False)
    assert again.returncode == 1 and "vm-005 is running already" in again.stderr
    seen = screen.windows()
    places = {name: (window.x, window.y) for name, window in seen.items()}
    assert places == {
        "vm-001": (20, 50), "vm-002": (20, 270), "vm-003": (20, 490), "vm-004": (20, 710),
        "vm-201": (570, 50), "vm-202": (570, 270), "vm-221": (1120, 50),
        "vm-005": (1670, 50),
    }  # fmt: skip
    assert not any(a.overlaps(b) for a, b in itertools.combinations(seen.values(), 2))
    for name, window in seen.items():
        usual = int(COLOUR[role_of(int(name[3:]))][1:], 16)
        eventually(lambda: screen.colours(window).get(0, 0) > 200)  # noqa: B023  black: what the node printed
        assert screen.colours(window)[usual] > 20_000  # one is partly beyond the edge
    cluster.xc("scalein", "221", "5")
    eventually(lambda: sorted(screen.windows()) == names)
    logged_in = [subprocess.Popen(cluster.command("vm", number), env=cluster.environment) for number in "14"]
    assert [process.wait(60) for process in logged_in] == [0, 0]  # at once, and yet side by side
    eventually(lambda: sorted(screen.windows()) == sorted([*names, "vm-001 login", "vm-004 login"]))
    seen = screen.windows()
    logins = {name: (window.x, window.y) for name, window in seen.items() if name.endswith("login")}
    assert sorted(logins.values()) == [(1120, 50), (1120, 270)]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(seen.values(), 2))


def test_rsh_gives_the_remote_exit_code_and_keeps_words(base: Cluster) -> None:
    assert base.xc("rsh", "1", "exit 7", ok=False).returncode == 7
    assert base.rsh(2, "A=b=c; echo $A --x=1").strip() == "b=c --x=1"
    assert base.xc("rsh", "vm-001", "hostname").stdout.strip() == "vm-001"
    shell = subprocess.run(
        base.command("rsh", "1"),
        input="echo $0; hostname; exit 5\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shell.stdout, shell.returncode) == ("-ash\nvm-001\n", 5)
    nothing = base.xc("rsh", "--bg", "1", ok=False)
    assert nothing.returncode == 2 and "a command is needed" in nothing.stderr
    missing = base.xc("rsh", "3", "true", ok=False)
    assert missing.returncode == 1
    assert "has no running node 3" in missing.stderr and "1, 2, 201, 202, 221" in missing.stderr


def test_rcp_brings_a_file(base: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("rcp") / "got"
    base.rsh(1, "seq 1 10000 > /tmp/numbers")
    base.xc("rcp", "1", "/tmp/numbers", str(target))
    assert target.read_text().splitlines()[-1] == "10000"


def test_logs_and_console(base: Cluster) -> None:
    events = base.xc("logs", "1", "--events").stdout
    for word in ("phase overlays", "overlay 00env 0", "phase rc", "rc 10net.rc 0", "phase ready", " ssh"):
        assert word in events
    with socket.socket(socket.AF_UNIX) as console:
        console.settimeout(20)
        console.connect(str(base.directory / "vm-001" / "console"))
        console.sendall(b"\necho mark-$((40+2))\n")
        seen = b""
        while b"mark-42" not in seen:
            seen += console.recv(4096)
    assert "mark-42" in base.xc("logs", "1").stdout


def test_scaleout_and_scalein(base: Cluster) -> None:
    base.xc("scaleout", "7")
    assert base.rsh(7, "hostname").strip() == "vm-007"
    base.until(7, "ping -c1 -W2 192.168.1.1")
    assert "running already" in base.xc("scaleout", "7", ok=False).stderr
    base.xc("scalein", "7")
    assert 7 not in [node["number"] for node in base.status()["nodes"]]
    assert processes_of("t-base/vm-007") == []
    assert base.rsh(1, "hostname").strip() == "vm-001"


def test_a_reboot_comes_back_as_the_same_node(base: Cluster) -> None:
    who = "cat /etc/machine-id; md5sum /etc/dropbear/dropbear_ed25519_host_key"
    before = base.rsh(2, who)
    base.rsh(2, "echo kept > /root/kept; touch /run/before; sync; reboot")
    base.until(2, "[ ! -e /run/before ]", 60)
    assert base.rsh(2, who) == before
    assert base.rsh(2, "cat /root/kept; hostname").split() == ["kept", "vm-002"]


def test_two_starts_at_once_one_wins_and_one_says_so() -> None:
    cluster = Cluster("t-twice")
    words = ("starts", "--cold", "--nvm=1", "--nrouters=0")
    first = cluster.spawn(*words)
    while not (WORKSPACE / "run" / "t-twice").is_dir() and first.poll() is None:
        time.sleep(0.02)
    second = cluster.xc(*words, ok=False)
    assert second.returncode == 1
    assert "under way" in second.stderr and "hint" in second.stderr
    first.communicate(timeout=120)
    assert first.returncode == 0
    cluster.xc("stop")
    assert_nothing_left("t-twice")


def starting(cluster: Cluster, *words: str) -> "subprocess.Popen[str]":
    """A start whose first machine is there, and that is not done yet."""
    process = cluster.spawn("starts", *words)
    while not any("qemu-system" in line for line in processes_of(cluster.name)) and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None
    return process


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_nothing(sign: signal.Signals) -> None:
    code, errors = interrupt(starting(Cluster("t-intr"), "--nvm=2", "--nrouters=0"), sign)
    assert code != 0
    assert "Traceback" not in errors
    assert_nothing_left("t-intr")


def test_stop_cleans_up_after_a_start_that_was_killed() -> None:
    cluster = Cluster("t-kill")
    interrupt(starting(cluster, "--nvm=2", "--nrouters=0"), signal.SIGKILL)
    assert processes_of("t-kill")
    cluster.xc("stop")
    assert_nothing_left("t-kill")


def test_a_port_in_use_is_named_before_anything_starts() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = Cluster("t-port").xc("starts", "--nvm=1", "--nrouters=0", f"--ssh-base={port - 1}", ok=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr and "vm-001" in done.stderr
    assert_nothing_left("t-port")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["starts", "--dns-hosts=/not/there"], "dns_hosts"),
        (["starts", "--wait=ready"], "needs a cluster with Kubernetes"),
        (["starts", "--net-setup=/not/there"], "net_setup"),
        (["starts", "--machine=pcx"], "did you mean 'pc'"),
        (["scaleout", "7", "--wait=ready"], "needs a cluster with Kubernetes"),
    ],
)
def test_what_is_refused_costs_no_running_cluster(base: Cluster, words: list[str], text: str) -> None:
    before = {node["number"]: node["pid"] for node in base.status()["nodes"]}
    done = base.xc(*words, ok=False)
    assert done.returncode != 0 and text in done.stderr and "golden" not in done.stderr
    assert {node["number"]: node["pid"] for node in base.status()["nodes"]} == before
    assert base.rsh(1, "hostname").strip() == "vm-001"


def test_a_node_that_does_not_come_up_is_shown_with_phase_and_console() -> None:
    cluster = Cluster("t-dead")
    done = cluster.xc(
        "starts", "--nvm=1", "--nrouters=0", "--cold", "--append=rdinit=/nothing", "--timeout=20", ok=False
    )
    assert done.returncode == 1
    assert "vm-001" in done.stderr and "phase" in done.stderr and "console" in done.stderr
    assert_nothing_left("t-dead")


def test_a_failing_rc_script_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bad") / "broken"
    script = folder / "default" / "etc" / "init.d" / "50broken.rc"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\necho 1 >/proc/version\nexit 3\n")
    script.chmod(0o755)
    cluster = Cluster("t-rc")
    cluster.xc("mkcdrom", str(folder))
    done = cluster.xc("starts", "--nvm=1", "--nrouters=0")
    cluster.xc("stop")
    cluster.xc("mkcdrom")
    assert (
        "vm-001: failed in the guest: 50broken.rc (3)\n    | sh: write error: Input/output error\n"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nvm=0", "--nrouters=0"], "0 nodes"),
        (["--nvm=300"], "nvm"),
        (["--nrouter=2"], "--nrouters"),
        (["--kernel=linux-0.9"], "linux-0.9"),
        (["--image=nothing"], "nothing"),
        (["--mem=lots"], "mem"),
    ],
)
def test_wrong_words_are_exit_code_2(words: list[str], text: str) -> None:
    done = Cluster("t-words").xc("starts", *words, ok=False)
    assert done.returncode == 2
    assert text in done.stderr and "Traceback" not in done.stderr
