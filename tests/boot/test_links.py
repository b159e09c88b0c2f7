"""Looking at the links of a running cluster, and disturbing them."""

import json
import os
import re
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import Cluster, running
from tests.conftest import eventually

pytestmark = pytest.mark.boot
PEER = "192.168.1.2"
HOST = "192.168.0.250"
OF_NET = {"eth0": HOST, "eth1": PEER}


@pytest.fixture(scope="module", params=["vm", "container"])
def pair(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes of a kind on nets 0 and 1."""
    for cluster in running("t-links", ["--nvm=2", "--nrouters=0", f"--node={request.param}"]):
        cluster.until(1, f"ping -c1 -W2 {PEER}")
        yield cluster


def echoes(pcap: bytes) -> list[tuple[int, bytes]]:
    """The pings in a capture: ICMP type and target address of each. The capture has to be whole."""
    assert struct.unpack_from("=I", pcap) == (0xA1B2C3D4,)
    at, pings = 24, []
    while at < len(pcap):
        (length,) = struct.unpack_from("=I", pcap, at + 8)
        frame = pcap[at + 16 : at + 16 + length]
        assert len(frame) == length
        if frame[12:14] == b"\x08\x00" and frame[23] == 1:
            pings.append((frame[34], frame[30:34]))
        at += 16 + length
    return pings


def capture(pair: Cluster, *words: str) -> "subprocess.Popen[bytes]":
    """A `tcpdump` that captures already."""
    process = subprocess.Popen(
        pair.command("tcpdump", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=pair.environment
    )
    assert process.stderr is not None
    assert b"capturing" in process.stderr.readline()
    return process


def spools(pair: Cluster) -> list[str]:
    """What captures left in the directory of node 1."""
    return [path.name for path in (pair.directory / "vm-001").glob("*.pcap")]


@pytest.mark.parametrize("interface", ["eth0", "eth1"])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_capture_to_a_file_has_the_pings(
    pair: Cluster, tmp_path: Path, interface: str, sign: signal.Signals
) -> None:
    peer = OF_NET[interface]
    process = capture(pair, "1", interface, f"--file={tmp_path / 'c.pcap'}")
    pair.rsh(1, f"ping -c2 -W5 {peer}")
    process.send_signal(sign)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    pings = echoes((tmp_path / "c.pcap").read_bytes())
    sent = (8, bytes(map(int, peer.split("."))))
    assert pings.count(sent) == 2
    assert len([kind for kind, _ in pings if kind == 0]) == 2
    assert spools(pair) == []


def test_a_capture_to_stdout_ends_by_itself(pair: Cluster) -> None:
    process = capture(pair, "1", "eth1", "-c", "4")
    pair.rsh(1, f"ping -c6 -i0.2 -W5 {PEER}")
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and errors.endswith(b"4 frames\n")
    assert len(out) == 24 + 4 * 16 + sum(struct.unpack_from("=I", out, at)[0] for at in frame_lengths(out))
    assert spools(pair) == []


def frame_lengths(pcap: bytes) -> list[int]:
    """Where the lengths of the frames stand."""
    places, at = [], 24
    while at < len(pcap):
        places.append(at + 8)
        at += 16 + struct.unpack_from("=I", pcap, at + 8)[0]
    return places


def test_upstreams_words(pair: Cluster) -> None:
    target = Path(tempfile.gettempdir()) / "vm-001-eth1.pcap"
    pair.xc("tcpdump", "--start", "1", "eth1")
    twice = pair.xc("tcpdump", "--start", "1", "eth1", ok=False)
    assert twice.returncode == 1 and "already" in twice.stderr
    pair.rsh(1, f"ping -c1 -W5 {PEER}")
    assert str(target) in pair.xc("tcpdump", "--get", "1", "eth1").stdout
    assert {kind for kind, _ in echoes(target.read_bytes())} == {0, 8}
    target.unlink()
    again = pair.xc("tcpdump", "--get", "1", "eth1", ok=False)
    assert again.returncode == 1 and "--start" in again.stderr


def test_a_filter_and_options_are_those_of_tcpdump_in_the_guest(pair: Cluster) -> None:
    target = Path(tempfile.gettempdir()) / "vm-001-eth1.pcap"
    pair.xc("tcpdump", "--start", "1", "eth1", "-s", "60", "icmp", "and", "src", PEER)
    twice = pair.xc("tcpdump", "--start", "1", "eth1", "arp", ok=False)
    assert twice.returncode == 1 and "already" in twice.stderr
    pair.rsh(1, f"ping -c2 -W5 {PEER}")
    assert str(target) in pair.xc("tcpdump", "--get", "1", "eth1").stdout
    captured = target.read_bytes()
    target.unlink()
    assert [kind for kind, _ in echoes(captured)] == [0, 0]  # replies only
    assert struct.unpack_from("=I", captured, 24 + 8) == (60,)
    assert pair.rsh(1, "ls /tmp; pidof tcpdump || echo none").strip() == "none"
    wrong = pair.xc("tcpdump", "--start", "1", "eth1", "no", "such", "filter", ok=False)
    assert wrong.returncode == 1 and "can't parse filter" in wrong.stderr
    pair.xc("tcpdump", "--start", "1", "lo")  # it is no NIC
    pair.rsh(1, "ping -c1 127.0.0.1")
    pair.xc("tcpdump", "--get", "1", "lo")
    loopback = Path(tempfile.gettempdir()) / "vm-001-lo.pcap"
    assert len(loopback.read_bytes()) > 24
    loopback.unlink()


def test_a_capture_that_was_killed_is_cleaned_up_by_the_next(pair: Cluster, tmp_path: Path) -> None:
    process = capture(pair, "1", "eth1", f"--file={tmp_path / 'a'}")
    process.kill()
    process.communicate(timeout=60)
    assert len(spools(pair)) == 1
    process = capture(pair, "1", "eth1", f"--file={tmp_path / 'b'}")
    assert len(spools(pair)) == 1
    process.terminate()
    process.communicate(timeout=60)
    assert spools(pair) == []


def test_who_reads_a_capture_may_go(pair: Cluster) -> None:
    process = capture(pair, "1", "eth1")
    assert process.stdout is not None
    process.stdout.close()
    pair.rsh(1, f"ping -c2 -i0.2 -W5 {PEER}")
    assert process.wait(60) == 0
    assert process.stderr is not None and b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert spools(pair) == []


def test_a_pulled_cable(pair: Cluster) -> None:
    pair.xc("link", "1", "eth1", "down")
    pair.until(1, "test $(cat /sys/class/net/eth1/carrier) = 0")
    assert pair.xc("rsh", "1", f"ping -c1 -W1 {PEER}", ok=False).returncode != 0
    rows = json.loads(pair.xc("link", "1", "-o", "json").stdout)
    assert [(row["interface"], row["link"]) for row in rows] == [("eth0", "up"), ("eth1", "down")]
    pair.xc("link", "1", "eth1", "up")
    pair.until(1, f"ping -c1 -W2 {PEER}")
    assert "down" not in pair.xc("link", "1").stdout


def test_what_was_done_to_a_cable_outlasts_a_reboot(pair: Cluster) -> None:
    pair.xc("link", "1", "eth1", "down")
    pair.xc("netem", "1", "eth0", "--delay=100ms", "--direction=in")
    before = pair.rsh(1, "cat /proc/sys/kernel/random/boot_id; awk '{print $22}' /proc/1/stat")
    pair.rsh(1, "(sleep 0.3; reboot) >/dev/null 2>&1 &")
    time.sleep(1)
    look = "cat /proc/sys/kernel/random/boot_id; awk '{print $22}' /proc/1/stat"
    eventually(lambda: pair.xc("rsh", "1", look, ok=False).stdout not in ("", before))
    pair.until(1, "test $(cat /sys/class/net/eth1/carrier) = 0")
    assert round_trip(pair, HOST) >= 100
    pair.xc("netem", "1", "eth0", "off")
    pair.xc("link", "1", "eth1", "up")
    pair.until(1, f"ping -c1 -W2 {PEER}")


def test_much_data_passes_a_bad_wire_whole(pair: Cluster) -> None:
    """What is larger than a frame, and checksums that others are to fill in."""
    pair.xc("netem", "1", "eth1", "--delay=1ms", "--direction=both")
    for server, client in ((1, 2), (2, 1)):
        pair.rsh(server, "rm -f /tmp/got; (sleep 20 | nc -l -p 7000 >/tmp/got) >/dev/null 2>&1 & sleep 0.5")
        send = f"nc -w 10 192.168.1.{server} 7000 < /tmp/sent; sha256sum < /tmp/sent"
        sent = pair.rsh(client, f"head -c 1000000 /dev/urandom > /tmp/sent; {send}")
        pair.until(server, f'[ "$(sha256sum < /tmp/got)" = "{sent.strip()}" ]')
    pair.xc("netem", "1", "eth1", "off")


def test_interfaces_and_nodes_that_are_not_there(pair: Cluster) -> None:
    for words in (["link", "1", "eth7", "up"], ["netem", "1", "eth7", "off"], ["tcpdump", "1", "eth7"]):
        done = pair.xc(*words, ok=False)
        assert done.returncode == 1 and "eth0 (net 0), eth1 (net 1)" in done.stderr
    done = pair.xc("link", "9", "eth0", ok=False)
    assert done.returncode == 1 and "there are: 1, 2" in done.stderr


def round_trip(pair: Cluster, peer: str, size: int = 56) -> float:
    """The quickest of some pings, in ms."""
    output = pair.rsh(1, f"ping -c4 -i0.2 -W5 -s {size} {peer}")
    match = re.search(r"min/avg/max = ([0-9.]+)/", output)
    assert match, output
    return float(match[1])


@pytest.mark.parametrize("interface", ["eth0", "eth1"])
def test_a_delay(pair: Cluster, interface: str) -> None:
    peer = OF_NET[interface]
    pair.xc("netem", "1", interface, "--delay=150ms")
    pair.rsh(1, "ip neigh flush all")  # nobody else answers for the other side
    assert round_trip(pair, peer) >= 150
    pair.xc("netem", "1", interface, "--delay=150ms", "--direction=both")
    assert round_trip(pair, peer) >= 300
    (row,) = json.loads(pair.xc("netem", "1", interface, "-o", "json").stdout)
    assert row["out"]["delay"] == row["in"]["delay"] == 0.15
    pair.xc("netem", "1", interface, "off")
    assert pair.xc("netem", "1", interface).stdout.split() == [interface, "net", interface[3], "good"]
    assert round_trip(pair, peer) < 150


def test_a_rate(pair: Cluster) -> None:
    pair.xc("netem", "1", "eth1", "--rate=80kbit")  # 10 bytes a millisecond
    assert round_trip(pair, PEER, 1000) >= 100
    pair.xc("netem", "1", "eth1", "off")


def test_loss_of_some_and_of_all(pair: Cluster) -> None:
    pair.xc("netem", "1", "eth1", "--loss=50%", "--direction=in")
    output = pair.rsh(1, f"ping -c60 -i0.05 -W1 {PEER}")
    match = re.search(r"(\d+) packets received", output)
    assert match and 8 <= int(match[1]) <= 52
    pair.xc("netem", "1", "eth1", "--loss=100%")
    assert pair.xc("rsh", "1", f"ping -c2 -i0.2 -W1 {PEER}", ok=False).returncode != 0
    pair.xc("netem", "1", "eth1", "off")
    pair.until(1, f"ping -c1 -W2 {PEER}")


def test_a_wire_whose_program_was_killed(pair: Cluster) -> None:
    pair.xc("netem", "1", "eth1", "--delay=1ms")
    state = json.loads((pair.directory / "vm-001" / "netem-eth1.helper").read_text())
    os.kill(state["pid"], signal.SIGKILL)
    eventually(lambda: "loss 100%" in pair.xc("netem", "1", "eth1").stdout)
    pair.xc("netem", "1", "eth1", "off")
    pair.until(1, f"ping -c1 -W2 {PEER}")


def test_a_stop_ends_it_all(pair: Cluster) -> None:
    """The fixture looks for what is left."""
    pair.xc("netem", "1", "eth1", "--delay=1ms")
    pair.xc("tcpdump", "--start", "2", "eth1")
    pair.xc("fakenet", "start")
