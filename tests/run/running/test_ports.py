"""Which ports lead to nodes, and what is said of those that have moved."""

import socket
from pathlib import Path

from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tasks.run.net import forwards, listening
from tasks.run.net.protocol import Ports
from tasks.run.running import ports
from tests.run.running.clusters import started

TWO = Settings(name="two", net="userspace")


def test_the_cluster_that_has_the_ports_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    started(workspace, Settings(net="userspace"))
    (line,) = ports.moved(TWO, workspace, Ports(13300, 13000))
    assert line == (
        "ports have moved: ssh to node N is at 127.0.0.1:13300+N, telnet at 13000+N, "
        "since cluster 'xcluster' has 12300+N"
    )


def test_the_program_that_has_a_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "(process " in (listening.owner(port) or "")
        chosen = TWO.model_copy(update={"ssh_base": port - 1, "api_base": port, "kubernetes": True})
        of_ssh, of_api = ports.moved(chosen, Workspace(tmp_path), Ports(port + 999, None, port + 1))
    assert f"since {listening_here()} has a port of {port - 1}+N" in of_ssh
    assert f"the Kubernetes API is at 127.0.0.1:{port + 1}, since {listening_here()} has" in of_api
    assert listening.owner(port) is None


def listening_here() -> str:
    """This process, as messages name it."""
    import os

    return f"{Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})"


def test_nothing_is_said_of_ports_that_have_not_moved(tmp_path: Path) -> None:
    assert ports.moved(TWO, Workspace(tmp_path), Ports(12300, None)) == []


def test_a_port_of_the_default_cluster_that_is_taken_is_told_with_the_way_out() -> None:
    node = Settings(ntesters=20).node_of(239)
    with socket.create_server(("127.0.0.1", 12300 + 239)):
        (line,) = forwards.taken([node], Ports(12300, None))
        assert f"is in use by {listening_here()}: end it" in line and "--name=NAME takes ports" in line
        (line,) = forwards.taken([Settings().node_of(238)], Ports(12301, None))
        assert "--ssh-base" in line and "--name" not in line
