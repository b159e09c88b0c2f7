"""The verb dns: a server without a cluster, and what it says of servers that cannot run."""

import json
import shlex
import subprocess

import pytest

from tasks.base import proc
from tests.conftest import Checkout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["dns"], "'dns' takes start|stop|status"),
        (["dns", "restart"], "unknown action 'restart' (known: start, status, stop)"),
        (["dns", "stop", "-o", "json"], "status"),
        (["start", "--dns=maybe"], "--dns"),
        (["dns", "stop", "--dns-server=auto"], "only 'dns status' takes"),
        (["dns", "start", "-o", "json"], "only 'dns status' takes"),
        (["dns", "start", "--dns-server=bind"], "unknown dns_server 'bind'"),
    ],
)
def test_wrong_words(checkout: Checkout, words: list[str], text: str) -> None:
    checkout.bad(*words, code=2, says=(text,))


def test_status_without_a_server(checkout: Checkout) -> None:
    assert checkout.good("dns", "stop").err.strip() == "no DNS server runs"
    assert '"running": false' in checkout.good("dns", "status", "-o", "json").out


@pytest.mark.skipif(proc.find("coredns") is not None, reason="there is a coredns on this host")
def test_a_program_that_is_not_there_is_told_as_long_as_it_is_asked_for(checkout: Checkout) -> None:
    asked = {"__dns_server": "coredns", "GOPATH": str(checkout.root / "go")}
    checkout.bad("dns", "start", code=1, says=("no DNS server: there is no coredns",), env=asked)
    assert checkout.good("dns", "status", env=asked).out.startswith("not running: there is no coredns")
    shown = json.loads(checkout.good("dns", "status", "-o", "json", "--dns-server=coredns").out)
    assert not shown["running"] and "there is no coredns" in shown["problem"]


@pytest.mark.skipif(proc.find("dnsmasq") is None, reason="there is no dnsmasq on this host")
@pytest.mark.skipif(proc.find("coredns") is not None, reason="there is a coredns on this host")
def test_a_server_that_runs_stays_when_another_one_cannot(checkout: Checkout) -> None:
    """In a network namespace of its own: the port is free there."""
    xc = f"{shlex.join(checkout.command)} dns"
    script = f"""ip link set lo up
    {xc} start >first && ! {xc} start --dns-server=coredns && {xc} status >later
    __dns_server=coredns {xc} status >asked; {xc} stop; {xc} status >after"""
    argv = ["unshare", "-rn", "bash", "-ec", script]
    done = subprocess.run(argv, cwd=checkout.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "there is no coredns" in done.stderr, done.stderr
    first, later, asked, after = (
        (checkout.root / name).read_text() for name in ("first", "later", "asked", "after")
    )
    assert "dnsmasq (process" in first and later == first
    assert asked.startswith(first) and "not the program that is asked for: there is no coredns" in asked
    assert after == "not running\n"
