"""Network backends: what connects the nodes. They know nothing of QEMU.

A backend makes the nets of a cluster and says of each node which NICs it has; a node backend turns a NIC into
its own options.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from tasks.lib.errors import UsageError, unknown
from tasks.lib.model import Node
from tasks.lib.paths import ClusterDir

BACKENDS = ("userspace",)


@dataclass(frozen=True)
class Forward:
    """A TCP port of the host's loopback that leads to a port of a node."""

    host_port: int
    guest_port: int


@dataclass(frozen=True)
class UserNic:
    """A NIC on a network of its own, with the host as the only neighbour; needs no privilege."""

    net: int
    mac: str
    guest: str  # the node's IPv4 address
    host: str  # the host's, in both families
    host6: str
    prefix6: str
    forwards: tuple[Forward, ...]


@dataclass(frozen=True)
class SwitchNic:
    """A NIC that is a connection to a switch."""

    net: int
    mac: str
    switch: str  # unix stream socket of the net


@dataclass(frozen=True)
class LooseNic:
    """A NIC that leads nowhere."""

    net: int
    mac: str


Nic = UserNic | SwitchNic | LooseNic


@dataclass(frozen=True)
class Ports:
    """Where the nodes' forwarded ports begin; node N is at base + N. None: not forwarded."""

    ssh: int
    telnet: int | None

    def of(self, number: int) -> tuple[Forward, ...]:
        """The forwards of one node."""
        telnet = (Forward(self.telnet + number, 23),) if self.telnet else ()
        return (Forward(self.ssh + number, 22), *telnet)


class NetBackend(Protocol):
    """What a network backend has to do."""

    def preflight(self, nodes: Sequence[Node], ports: Ports) -> list[str]:
        """Everything that is missing on this host for these nodes; nothing is changed."""

    def up(self, cluster: ClusterDir, nets: Iterable[int]) -> None:
        """Make the nets; those that are there stay as they are."""

    def down(self, cluster: ClusterDir) -> None:
        """Remove all that `up` made, also after a crash; nothing there is fine."""

    def nics(self, cluster: ClusterDir, node: Node, prefix: str, ports: Ports) -> list[Nic]:
        """The NICs of a node, eth0 first."""

    def pids(self, cluster: ClusterDir) -> list[int]:
        """Processes that belong to the nets."""


def get(name: str) -> NetBackend:
    """The backend called `name`."""
    if name not in BACKENDS:
        raise UsageError(unknown("network backend", name, BACKENDS))
    backend: NetBackend = import_module(f"tasks.net.{name}").BACKEND
    return backend
