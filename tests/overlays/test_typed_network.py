"""What xcluster's documents type about names and network namespaces, typed one after the other."""

import os
import shutil

import pytest

from tests.boot.conftest import ROOT, Cluster, assert_nothing_left, build
from tests.seeds.line import Line
from tests.seeds.network_lines import ENTERS, GUESTS, INNER_RULES, MAKES, OUTER_RULES, SERVER
from tests.seeds.shell import Shell

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("iptables", "dig", "netstat"))),
        reason="root makes namespaces; iptables, dig and netstat look at them",
    ),
]
NAME = "t-typed"
# `xc nsadd 1` is to meet neither the namespaces of this host nor its rules.
ALONE = ("unshare", "--net", "--mount", "bash", "--norc", "--noprofile", "--noediting", "-i")
BEGIN = "mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && PATH=$PWD:$PATH"
OVERLAYS = ("env", "network-topology", "iptools", "dns")
UP = f"xc mkcdrom {' '.join(OVERLAYS)} && xc starts --nvm=1 --nrouters=0 --dns=on"


def good(shell: Shell, text: str, seconds: float = 300) -> str:
    """What a line says that has to work."""
    status, printed = shell.typed(text, seconds)
    assert status == 0, f"{text}: {status}\n{printed}"
    return printed


def typed(shell: Shell, line: Line, *, node: bool = False) -> None:
    """Type a line where we are, or on node 1."""
    fault = line.fault(*shell.typed(f"xc rsh 1 '{line.typed}' </dev/null" if node else line.typed, 120))
    assert not fault, fault


def test_names_and_namespaces_as_typed() -> None:
    build("kernel:debian", "image:base")  # there is no network where the rest is typed
    Cluster(NAME).xc("mkcdrom", *OVERLAYS)
    environment = {**Cluster(NAME).environment, "__name": NAME, "SHELL": "/bin/bash", "HOME": "/nonexistent"}
    with Shell(ROOT, environment, ALONE) as shell:
        good(shell, BEGIN)
        for line in (*MAKES, *OUTER_RULES):
            typed(shell, line)
        try:
            shell.send(f"{ENTERS[0].typed}\n")  # a shell there
            for line in INNER_RULES:
                typed(shell, line)
            good(shell, UP)
            good(shell, "xc fakenet start")
            for line in SERVER:
                typed(shell, line)
            for line in GUESTS:
                typed(shell, line, node=True)
        finally:
            good(shell, "xc stop; exit")
            good(shell, "xc nsdel 1")
        assert "MASQUERADE" not in good(shell, "iptables -t nat -L POSTROUTING -nv")
    assert_nothing_left(NAME)
