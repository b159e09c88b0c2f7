"""What verify asks of nodes, what it makes of their answers, and its reports."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tasks.run.verify import probe, results
from tasks.run.verify.probe import Probe
from tasks.run.verify.results import Result
from tests.conftest import Checkout

PROBES = [
    Probe("ping", "192.168.1.1", 4, 1500),
    Probe("ping", "fd00::192.168.1.1", 6, 9000),
    Probe("ssh", "192.168.1.2"),
    Probe("name", "vm-002", want="192.168.1.2"),
    Probe("http", "http://198.51.100.1:8080/", want="translated"),
]


def test_a_packet_is_as_large_as_asked() -> None:
    """IPv4 has 20 bytes of header, IPv6 40, an echo request 8."""
    lines = probe.script(PROBES).splitlines()
    assert "ping_ 0 4 1472 192.168.1.1" in lines
    assert "ping_ 1 6 8952 fd00::192.168.1.1" in lines


def test_the_script_is_one_that_a_shell_takes() -> None:
    done = subprocess.run(
        ["sh", "-n"], input=probe.script(PROBES), text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_words_with_spaces_stay_one() -> None:
    odd = Probe("http", "http://h/a b", want="x; reboot")
    assert odd.words(7) == "http_ 7 'http://h/a b' 'x; reboot'"


def test_every_probe_has_an_outcome() -> None:
    output = "vm-001\n0 ok\n1 answers small packets only\n3 ok\nnoise\n"
    outcomes = probe.outcomes(PROBES[:4], output)
    assert outcomes == ["", "answers small packets only", "the node ended the check", ""]


def test_pieces_are_counted() -> None:
    v4 = "Ip: Forwarding ReasmReqds FragCreates\nIp: 1 {} {}\n"
    assert probe.pieces(v4.format(0, 0) + "Ip6FragCreates  \t0\n") == 0
    assert probe.pieces(v4.format(2, 1) + "Ip6FragCreates  \t4\n") == 7


def test_pieces_of_this_kernel_are_readable() -> None:
    """The names of the counters are the kernel's."""
    before = counted()
    output = subprocess.run(["sh", "-c", probe.PIECES], capture_output=True, text=True, check=True).stdout
    assert "ReasmReqds" in output and "FragCreates" in output
    assert before <= probe.pieces(output) <= counted()


def counted() -> int:
    """The same, read in another way."""
    rows = [
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")
    ]
    names = [line.split() for line in Path("/proc/net/snmp6").read_text().splitlines()]
    v4 = dict(zip(*rows, strict=True))
    v6 = {name: int(count) for name, count in names}
    return int(v4["FragCreates"]) + int(v4["ReasmReqds"]) + v6["Ip6FragCreates"]


RESULTS = [
    Result("xnet", "start", "ok", seconds=2.0),
    Result("xnet", "vm-001 to 192.168.2.221", "failed", "no answer <\x01>", 0.5),
    Result("diamond", "a server outside", "skipped", "why"),
]


def test_results_are_counted() -> None:
    assert str(results.counts(RESULTS)) == "1 ok, 1 failed, 1 skipped"
    assert str(results.counts(RESULTS[:1])) == "1 ok, 0 failed"


def test_junit_has_a_suite_for_each_topology() -> None:
    root = ElementTree.fromstring(results.as_junit(RESULTS))
    xnet, diamond = root
    assert dict(xnet.attrib) == {
        "name": "xnet",
        "tests": "2",
        "failures": "1",
        "skipped": "0",
        "time": "2.500",
    }
    assert [child.tag for child in xnet[1]] == ["failure"]
    assert xnet[1][0].attrib["message"] == "no answer <?>"
    assert [child.tag for child in diamond[0]] == ["skipped"]


def test_json_has_all() -> None:
    assert [each["outcome"] for each in json.loads(results.as_json(RESULTS))] == ["ok", "failed", "skipped"]


@pytest.mark.parametrize("words", [["nosuch"], ["--topology=nosuch"], ["nosuch", "all-of-them"]])
def test_a_name_that_is_no_topology(checkout: Checkout, words: list[str]) -> None:
    checkout.bad("verify", *words, code=2, says=("nosuch", "all"))


def test_a_format_that_is_none(checkout: Checkout) -> None:
    checkout.bad("verify", "-o", "yaml", code=2, says=("yaml", "json"))
