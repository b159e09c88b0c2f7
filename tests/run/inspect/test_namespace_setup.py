"""Network namespaces by number, made and removed for real, in a network namespace of the test's own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("iptables"), reason="root makes them; iptables shows their rules"
)
# `ip netns` keeps its names in a directory of the host, so that is one of the test's own too.
BEGIN = """
set -eu
mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip link set lo up
there() { ip netns exec "$(id -un)_xcluster$1" sh -c "$2"; }
rules() { nft list ruleset 2>/dev/null | sed 's/packets [0-9]* bytes [0-9]*//'; }
"""


def shell(text: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script as root of a host that has nothing but a loopback."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "XCLUSTER_WORKSPACE": str(folder / "w")}
    return subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", BEGIN + text],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def good(text: str, folder: Path) -> str:
    """What a script says that works."""
    done = shell(text, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_iptables_shows_the_rules_on_both_sides_and_those_of_others_stay(tmp_path: Path) -> None:
    text = """
    iptables -t nat -A POSTROUTING -s 172.30.0.0/24 -j MASQUERADE
    iptables -P FORWARD DROP
    iptables -A FORWARD -i lo -j ACCEPT
    rules >before
    ./xc nsadd 1
    ./xc nsadd 2 --ipv4-base=172.31.0.0/22
    iptables -t nat -S POSTROUTING
    iptables -S FORWARD
    there 1 'iptables -t nat -L POSTROUTING -n; ip6tables -t nat -S POSTROUTING'
    there 1 './xc nssetup 1; iptables -t nat -S POSTROUTING | grep -c MASQUERADE'
    ./xc nsdel 1
    iptables -t nat -S POSTROUTING | grep -c xcluster2
    ./xc nsdel 2
    rules | diff before - && ip -o link | wc -l
    """.replace("before", str(tmp_path / "before"))
    said = good(text, tmp_path).splitlines()
    assert "-A POSTROUTING -s 172.30.0.0/24 -m comment --comment xcluster1 -j MASQUERADE" in said
    assert "-A POSTROUTING -s 172.31.0.0/22 -m comment --comment xcluster2 -j MASQUERADE" in said
    assert "-A FORWARD -s 172.30.0.0/24 -m comment --comment xcluster1 -j ACCEPT" in said
    assert any(line.split()[:1] == ["MASQUERADE"] and "192.168.0.0/24" in line for line in said)
    (inner,) = [line for line in said if "-s fd00::c0a8:0/120 -o host1" in line]
    assert inner.endswith("-j MASQUERADE")
    assert said[-3:] == ["1", "1", "1"]  # nothing twice; that of the other stays; the loopback alone


@pytest.mark.parametrize("verb", ["nsadd", "masq"])
def test_a_host_without_rules_has_none_afterwards(tmp_path: Path, verb: str) -> None:
    both = {
        "nsadd": "./xc nsadd 1; ./xc nsadd 2; rules | grep -c saddr; ./xc nsdel 1; ./xc nsdel 2",
        "masq": "./xc masq; ./xc masq; rules | grep -c saddr; ./xc masq --off",
    }
    assert good(both[verb] + "\nrules", tmp_path) == {"nsadd": "4\n", "masq": "2\n"}[verb]


def test_without_iptables_nft_has_the_rules(tmp_path: Path) -> None:
    """Seen from a PATH without it; nft itself shows them."""
    text = """
    for name in iptables ip6tables; do
        mount --bind /dev/null "$(readlink -f "$(command -v $name)")" 2>/dev/null || :
    done
    ./xc nsadd 1
    nft list table inet xcluster1
    there 1 'nft list table inet xcluster1'
    ./xc nsdel 1
    rules
    """
    said = good(text, tmp_path)
    assert "ip saddr 172.30.0.0/24 counter" in said and 'oifname "host1" ip saddr 192.168.0.0/24' in said
    assert said.count("table inet xcluster1") == 2


def test_a_namespace_at_dockers_bridge(tmp_path: Path) -> None:
    text = """
    ip link add docker0 type bridge
    ip address add 172.17.0.1/16 dev docker0
    ip link set docker0 up
    ./xc docker_net 3
    ./xc nsadd_docker 3
    there 3 'ip -4 -o address show dev host3; ip route show default; ls /sys/class/net'
    there 3 "python3 -c 'import socket; socket.create_connection((\\"172.17.0.1\\", 1))' 2>&1 | tail -1"
    there 3 'iptables -t nat -S POSTROUTING'
    ls /sys/class/net/docker0/brif 2>/dev/null || bridge link
    ./xc nsdel 3
    rules; ip -o link | wc -l
    """
    said = good(text, tmp_path)
    assert "__adr4='172.17.0.54/16'\n__gw4='172.17.0.1'\n" in said
    assert "inet 172.17.0.54/16" in said and "default via 172.17.0.1 dev host3" in said
    assert "Connection refused" in said  # the host answers
    assert "-s 192.168.0.0/24 -o host3" in said and said.endswith("\n2\n")


def test_words_that_do_not_fit(tmp_path: Path) -> None:
    for words, expected in {
        "docker_net 1": "there is no bridge docker0 here",
        "nsadd_docker 1": "there is no bridge docker0 here",
        "nssetup 1": "there is no link host1 in this network namespace",
    }.items():
        done = shell(f"./xc {words} 2>&1; code=$?; rules; ls /run/netns; exit $code", tmp_path)
        assert done.returncode == 1 and expected in done.stdout, done.stdout + done.stderr
        assert len(done.stdout.splitlines()) == 2  # it, and what to do; nothing was made
    done = shell("./xc masq --ipv4-base=x", tmp_path)
    assert done.returncode == 2 and "--ipv4-base=x" in done.stderr
    done = shell(
        "ip link add docker0 type bridge; ip address add 10.9.0.1/28 dev docker0; ./xc docker_net 1", tmp_path
    )
    assert done.returncode == 2 and "10.9.0.0/28" in done.stderr
