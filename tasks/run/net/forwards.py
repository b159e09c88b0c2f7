"""Ports of the host's loopback that lead to nodes: whether they can be had."""

import socket
from collections.abc import Collection, Sequence

from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net import host_support, listening
from tasks.run.net.protocol import Forward, Ports

LAST = 65535
OTHERS = "choose others with --ssh-base and --telnet-base"
NAMED = ", or name the cluster: --name=NAME takes ports that are free"


def taken(nodes: Sequence[Node], ports: Ports, held: Collection[int] = ()) -> list[str]:
    """Ports for nodes on net 0 that cannot be used, since they are taken or invalid, and what to do.

    `held` are those of a cluster that ends before these nodes start.
    """
    problems = host_support.loopback_down() if any(_all(nodes, ports)) else []
    names: dict[int, str] = {}
    others = OTHERS + (NAMED if ports.ssh == Settings().ssh_base else "")
    for name, forward in _all(nodes, ports):
        port, lead = forward.host_port, f"(for port {forward.guest_port} of {name})"
        if port > LAST:
            problems.append(f"port {port} {lead} is above {LAST}: {OTHERS}")
        elif port in names:
            problems.append(f"port {port} {lead} is that of {names[port]} too: {OTHERS}")
        elif port not in held and not is_free(port):
            where = f"port 127.0.0.1:{port} {lead}"
            who = listening.owner(port) or "another program"
            problems.append(f"{where} is in use by {who}: end it, or {others}")
        names.setdefault(port, name)
    return problems


def _all(nodes: Sequence[Node], ports: Ports) -> list[tuple[str, Forward]]:
    """The forwards of nodes on net 0, each with the node's name."""
    return [(node.name, forward) for node in nodes if 0 in node.nets for forward in ports.of(node.number)]


def is_free(port: int) -> bool:
    """Whether a port of the loopback can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
