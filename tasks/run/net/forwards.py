"""Ports of the host's loopback that lead to nodes: whether they are free."""

import socket
from collections.abc import Sequence

from tasks.definitions.schema import Node
from tasks.run.net.protocol import Forward, Ports


def taken(nodes: Sequence[Node], ports: Ports) -> list[str]:
    """Ports for nodes on net 0 that somebody else has, and what to do."""
    return [
        _port_taken(node.name, forward)
        for node in nodes
        if 0 in node.nets
        for forward in ports.of(node.number)
        if not is_free(forward.host_port)
    ]


def is_free(port: int) -> bool:
    """Whether a port of the loopback can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _port_taken(name: str, forward: Forward) -> str:
    return (
        f"port 127.0.0.1:{forward.host_port} (for port {forward.guest_port} of {name}) is in use by another "
        "program: end it, or choose others with --ssh-base and --telnet-base"
    )
