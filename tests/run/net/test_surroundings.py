"""Networks and name servers of the host that collide with those of a cluster, in namespaces of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.run.net import host_support, surroundings
from tests.conftest import ROOT

ASK = """from tasks.definitions.settings import Settings
from tasks.run.net import surroundings
print("\\n".join(surroundings.warnings(Settings(nvm=1, nrouters=0).nodes(), "{net}")))
"""
SERVER = """import socket, sys
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    data, who = link.recvfrom(512)
    link.sendto(data, who)
"""


def ask(shell: str, net: str = "bridge", resolv: str = "", folder: Path | None = None) -> str:
    """The warnings on a host where this shell line was run as root before."""
    mount = f"mount --bind {folder}/resolv.conf /etc/resolv.conf;" if folder else ""
    if folder:
        (folder / "resolv.conf").write_text(resolv)
        (folder / "server.py").write_text(SERVER)
    script = f'ip link set lo up; {mount} {shell}; "$@"; kill $! 2>&-; :'
    command = [*host_support.fence(), "--mount", "sh", "-c", script, "sh"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    command += [sys.executable, "-c", ASK.format(net=net)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.strip()


def lan(address: str) -> str:
    return f"ip link add lan0 type bridge; ip address add {address} dev lan0; ip link set lan0 up"


@pytest.mark.parametrize(
    ("address", "net", "says"),
    [
        ("192.168.0.7/24", "userspace", "192.168.0.0/24 (lan0) has addresses of net 0"),
        ("192.168.1.7/24", "bridge", "192.168.1.0/24 (lan0) has addresses of net 1"),
        ("192.168.5.7/16", "bridge", "192.168.0.0/16 (lan0) has addresses of net 0"),
        ("10.0.2.15/24", "bridge", "10.0.2.0/24 (lan0) has addresses of the way out"),
    ],
)
def test_a_network_of_the_host_that_collides(address: str, net: str, says: str) -> None:
    assert says in ask(lan(address), net)


@pytest.mark.parametrize(("address", "net"), [("10.0.2.15/24", "userspace"), ("192.168.7.7/24", "bridge")])
def test_a_network_that_does_not(address: str, net: str) -> None:
    assert ask(lan(address), net) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
@pytest.mark.parametrize(
    ("resolv", "says"),
    [
        ("nameserver ::1\n", "no IPv4 name server (::1)"),
        (
            "nameserver 127.0.0.9\nnameserver 127.0.0.2\n",
            "127.0.0.9, first in /etc/resolv.conf, does not",
        ),
        ("nameserver 127.0.0.2\nnameserver 127.0.0.9\n", ""),
        ("nameserver 127.0.0.53\n", ""),
        ("# nothing\n", ""),
    ],
)
def test_name_servers(tmp_path: Path, resolv: str, says: str) -> None:
    """Where the host itself knows names, and nodes behind an uplink would not."""
    serve = "mkfifo ready; $PYTHON server.py 127.0.0.2 >ready & read ready <ready"
    found = ask(serve, resolv=resolv, folder=tmp_path)
    assert (says in found) if says else found == ""


def test_a_resolv_conf_of_any_form() -> None:
    text = "# x\nsearch a b\nnameserver\t10.0.0.1 # mine\nnameserver\n  nameserver fe80::1%eth0\noptions x\n"
    assert surroundings.name_servers(text) == ["10.0.0.1", "fe80::1%eth0"]
