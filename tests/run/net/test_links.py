"""Bad wires, captures and the pretended internet: their values and programs, without a virtual machine."""

import io
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base.errors import UsageError
from tasks.formats import pcap as frames
from tasks.run.net import netem
from tasks.run.net.programs import pretend, wire
from tests.conftest import Checkout, eventually

GOOD = {"delay": 0.0, "jitter": 0.0, "loss": 0.0, "rate": 0.0, "limit": 1000}


@pytest.mark.parametrize(
    ("options", "impairment", "text"),
    [
        ({"delay": "50ms"}, netem.Impairment(delay=0.05), "delay 50ms"),
        ({"delay": "1s", "jitter": "500us"}, netem.Impairment(1.0, 0.0005), "delay 1s ± 0.5ms"),
        ({"loss": "10%"}, netem.Impairment(loss=0.1), "loss 10%"),
        ({"loss": "0.5"}, netem.Impairment(loss=0.005), "loss 0.5%"),
        ({"rate": "1.5mbit"}, netem.Impairment(rate=1.5e6), "rate 1.5mbit"),
        ({"rate": "2GBIT", "limit": "7"}, netem.Impairment(rate=2e9, limit=7), "rate 2gbit"),
        ({"delay": "0", "loss": "100%"}, netem.Impairment(loss=1.0), "loss 100%"),
    ],
)
def test_what_a_user_says(options: dict[str, str], impairment: netem.Impairment, text: str) -> None:
    assert netem.parse(options) == impairment
    assert str(impairment) == text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"delay": "50"}, "--delay: expected a time such as 50ms"),
        ({"delay": "-5ms"}, "--delay"),
        ({"delay": "2h"}, "units: us, ms, s"),
        ({"delay": "61s"}, "expected at most 60 s"),
        ({"delay": ""}, "--delay"),
        ({"loss": "101%"}, "--loss"),
        ({"loss": "ten"}, "--loss"),
        ({"rate": "1"}, "units: bit, kbit, mbit, gbit"),
        ({"rate": "1bit"}, "between 1kbit"),
        ({"limit": "0", "loss": "1%"}, "--limit"),
        ({"limit": "many", "loss": "1%"}, "--limit"),
        ({"delay": "1ms", "jitter": "2ms"}, "--jitter: more than --delay"),
        ({"delay": "0ms"}, "nothing to do"),
    ],
)
def test_what_makes_no_sense(options: dict[str, str], text: str) -> None:
    with pytest.raises(UsageError, match="--") as caught:
        netem.parse(options)
    assert text in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        netem.parse({"delay": "x", "loss": "y", "rate": "z"})
    assert all(f"--{name}:" in str(caught.value) for name in ("delay", "loss", "rate"))


def a_wire(**values: float) -> tuple[wire.Wire, socket.socket]:
    """A wire, and the end at which its frames arrive."""
    far, near = socket.socketpair()
    near.setblocking(False)
    return wire.Wire({**GOOD, **values}, near, near), far


def framed(*texts: bytes) -> bytes:
    """Frames as QEMU sends them."""
    return b"".join(struct.pack(">I", len(text)) + text for text in texts)


def test_a_delay_holds_frames_until_they_are_due() -> None:
    cable, far = a_wire(delay=0.5)
    cable.take(framed(b"one"), 10.0)
    cable.take(framed(b"two"), 10.2)
    cable.arrived(10.49)
    assert cable.sending == b"" and cable.wait(10.3) == pytest.approx(0.2)
    cable.arrived(10.51)
    assert cable.sending == framed(b"one")
    cable.arrived(11.0)
    cable.flush()
    assert far.recv(100) == framed(b"one", b"two") and cable.wait(11.0) is None


def test_a_rate_makes_frames_wait_for_each_other() -> None:
    cable, _ = a_wire(rate=8000.0)  # 1000 bytes a second
    cable.take(framed(b"x" * 500, b"y" * 500), 0.0)
    cable.arrived(0.51)
    assert cable.sending == framed(b"x" * 500)
    cable.arrived(0.99)
    assert len(cable.sending) == 504
    cable.arrived(1.01)
    assert len(cable.sending) == 1008


def test_jitter_never_lets_a_frame_overtake() -> None:
    cable, _ = a_wire(delay=0.1, jitter=0.1)
    texts = [b"%03d" % i for i in range(200)]
    for i, text in enumerate(texts):
        cable.take(framed(text), i * 0.001)
    due = [at for at, _ in cable.on_the_way]
    assert due == sorted(due)
    assert max(at - i * 0.001 for i, at in enumerate(due)) <= 0.2 + 1e-9
    cable.arrived(10.0)
    assert cable.sending == framed(*texts)


def test_loss() -> None:
    none, _ = a_wire(loss=0.0)
    half, _ = a_wire(loss=0.5, limit=10_000)
    everything, _ = a_wire(loss=1.0)
    for cable in (none, half, everything):
        cable.take(framed(*[b"x"] * 1000), 0.0)
        cable.arrived(0.0)
    assert len(none.sending) == 5000 and len(everything.sending) == 0
    assert 350 < len(half.sending) / 5 < 650


def test_more_than_may_wait_is_lost() -> None:
    cable, _ = a_wire(delay=1.0, limit=3)
    cable.take(framed(b"1", b"2", b"3", b"4"), 0.0)
    cable.arrived(2.0)
    assert cable.sending == framed(b"1", b"2", b"3")


def test_frames_in_pieces() -> None:
    cable, _ = a_wire()
    for i, byte in enumerate(framed(b"hello", b"world")):
        cable.take(bytes([byte]), float(i))
    cable.arrived(100.0)
    assert cable.sending == framed(b"hello", b"world")


@pytest.fixture
def running_wire(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """The program, and the beginning of the names of its sockets."""
    name = tmp_path / "w"
    settings = json.dumps({"out": GOOD, "in": GOOD})
    process = subprocess.Popen([sys.executable, "-I", str(netem.PROGRAM), str(name), settings])
    yield process, name
    process.kill()
    process.wait()


def test_the_program_carries_both_ways_and_ends_with_qemu(
    running_wire: tuple["subprocess.Popen[bytes]", Path],
) -> None:
    process, name = running_wire
    links = {}
    for way in ("out", "in"):
        for end in ("from", "to"):
            path = Path(f"{name}.{way}.{end}")
            eventually(path.exists)
            assert path.stat().st_mode & 0o777 == 0o600
            links[way, end] = socket.socket(socket.AF_UNIX)
            links[way, end].settimeout(60)
            links[way, end].connect(str(path))
    for way in ("out", "in"):
        links[way, "from"].sendall(framed(b"to", way.encode()))
        assert links[way, "to"].recv(100).startswith(framed(b"to"))
    assert list(name.parent.iterdir()) == []  # a name is of no use any more
    for link in links.values():
        link.close()
    assert process.wait(60) == 0


def test_state_of_a_wire(tmp_path: Path) -> None:
    assert netem.current(tmp_path, "eth1") == {}
    netem.start(tmp_path, "eth1", netem.Impairment(loss=0.1), ("out",))
    assert netem.current(tmp_path, "eth1") == {"out": netem.Impairment(loss=0.1)}
    netem.end(tmp_path, "eth1")
    assert netem.current(tmp_path, "eth1") == {} and list(tmp_path.iterdir()) == []


def checksum(data: bytes) -> int:
    """The internet checksum, from its definition."""
    total = sum(word for (word,) in struct.iter_unpack(">H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def segment(source: tuple[str, int], target: tuple[str, int], data: bytes, options: bytes = b"") -> bytes:
    """A TCP segment in IPv4 in Ethernet, behind its length."""
    ends = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    tcp = struct.pack(">HHIIBBHHH", source[1], target[1], 1, 2, 0x50, 0x18, 1000, 0, 0) + data
    pseudo = ends + struct.pack(">HH", 6, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
    size = 0x45 + len(options) // 4
    head = struct.pack(">BBHHHBBH", size, 0, 20 + len(options) + len(tcp), 0, 0, 64, 6, 0) + ends + options
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return framed(b"\x02" * 12 + b"\x08\x00" + head + tcp)


@pytest.mark.parametrize("options", [b"", b"\x01" * 8])
def test_an_address_becomes_another_with_right_checksums(options: bytes) -> None:
    outside, inside, node = ("203.0.113.80", 80), ("192.168.0.250", 54321), ("192.168.1.1", 40000)
    old, new = (pretend._packed(*end) for end in (outside, inside))
    there = pretend.translated(segment(node, outside, b"GET", options), old, new, target=True)
    assert there == segment(node, inside, b"GET", options)
    back = pretend.translated(segment(inside, node, b"200", options), new, old, target=False)
    assert back == segment(outside, node, b"200", options)


def test_all_other_frames_stay_as_they_are() -> None:
    old, new = pretend._packed("203.0.113.80", 80), pretend._packed("192.168.0.250", 54321)
    good = segment(("192.168.1.1", 40000), ("203.0.113.80", 80), b"x")
    others = [
        segment(("192.168.1.1", 40000), ("203.0.113.80", 443), b"x"),
        segment(("192.168.1.1", 40000), ("203.0.113.81", 80), b"x"),
        segment(("203.0.113.80", 80), ("192.168.1.1", 40000), b"x"),
        good.replace(b"\x08\x00\x45", b"\x86\xdd\x45"),
        framed(b"short"),
        framed(b""),
        framed(good[4:40]),
    ]
    assert [pretend.translated(each, old, new, target=True) for each in others] == others


def pcap(*texts: bytes) -> bytes:
    """A capture as QEMU writes it."""
    head = struct.pack("=IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65536, 1)
    return head + b"".join(struct.pack("=IIII", 1, 2, len(text), 1500) + text for text in texts)


def test_whole_frames_are_copied_as_they_come() -> None:
    whole, source, sink = pcap(b"one", b"three"), io.BytesIO(), io.BytesIO()
    copy = frames.Copy(source, sink, 0)
    for at in range(len(whole)):
        source.write(whole[at : at + 1])
        source.seek(at)
        copy.more()
        assert sink.getvalue() in (b"", pcap(), pcap(b"one"), whole)
    assert sink.getvalue() == whole and copy.got == 2


@pytest.mark.parametrize(("most", "texts"), [(1, [b"a"]), (2, [b"a", b""]), (9, [b"a", b"", b"c"])])
def test_no_more_frames_than_are_wanted(most: int, texts: list[bytes]) -> None:
    sink = io.BytesIO()
    copy = frames.Copy(io.BytesIO(pcap(b"a", b"", b"c")), sink, most)
    copy.more()
    assert sink.getvalue() == pcap(*texts) and bool(copy.left) == (most > 3)


@pytest.mark.parametrize(
    ("words", "exit_code", "text"),
    [
        (["tcpdump"], 2, "'tcpdump' takes"),
        (["tcpdump", "1"], 2, "no interface is given"),
        (["tcpdump", "1", "eth1", "port", "80"], 2, "xc tcpdump --start 1 eth1 port 80"),
        (["tcpdump", "--start", "1", "eth1", "-s", "9", "--count=x"], 1, "no running node 1"),
        (["tcpdump", "1", "eth1", "--count=x"], 2, "--count"),
        (["tcpdump", "--start", "--file=x", "1", "eth1"], 2, "--start cannot be combined with --file"),
        (["tcpdump", "1", "eth1", "--file=x"], 1, "no running node 1"),
        (["tcpdump", "one", "eth1", "--file=x"], 2, "'one' is not the number of a node"),
        (["link", "1", "eth1", "sideways"], 2, "unknown link state 'sideways' (known: down, up)"),
        (["link", "1", "eth1", "up"], 1, "no running node 1"),
        (["link", "1", "-o", "xml"], 2, "known: json"),
        (["netem", "1", "eth1", "--delay=5"], 1, "no running node 1"),
        (["netem", "1", "--delay=5ms"], 2, "no interface is given"),
        (["netem", "1", "eth1", "of"], 2, "Did you mean 'off'?"),
        (["netem", "1", "eth1", "off", "--loss=1%"], 2, "takes no options"),
        (["netem", "1", "eth1", "--loss=1%", "--direction=up"], 2, "unknown direction 'up'"),
        (["netem", "1", "eth1", "--delai=5ms"], 2, "--delay"),
        (["fakenet"], 2, "'fakenet' takes"),
        (["fakenet", "on"], 2, "unknown action 'on'"),
        (["fakenet", "start"], 1, "no node"),
    ],
)
def test_wrong_words(checkout: Checkout, words: list[str], exit_code: int, text: str) -> None:
    checkout.bad(*words, code=exit_code, says=(text,))
    assert not (checkout.root / "x").exists()


def test_bytes_before_each_frame_are_left_out() -> None:
    sink = io.BytesIO()
    frames.Copy(io.BytesIO(pcap(b"headframe", b"he", b"headx")), sink, 0, surplus=4).more()
    assert [each for each in (b"head", b"he", b"frame", b"x") if each in sink.getvalue()] == [b"frame", b"x"]
