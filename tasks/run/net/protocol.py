"""Network backends: what connects the nodes. They know nothing of QEMU.

A backend makes the nets of a cluster and says of each node which NICs it has; a node backend turns a NIC into
its own options.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tasks.base.paths import ClusterDir
from tasks.definitions import kubernetes
from tasks.definitions.schema import Node


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
class TapNic:
    """A NIC at a tap of the network namespace that the node runs in."""

    net: int
    mac: str
    tap: str


@dataclass(frozen=True)
class VethNic:
    """A NIC that is one end of a cable; the other is at a bridge of the namespace that the node runs in."""

    net: int
    mac: str
    name: str  # of the end at the bridge
    bridge: str
    wire: str  # of what stands between cable and bridge while the cable is a bad one


@dataclass(frozen=True)
class ScriptNic:
    """A NIC as a user's script says it."""

    net: int
    mac: str
    options: tuple[str, ...]  # of QEMU, device and all


@dataclass(frozen=True)
class LooseNic:
    """A NIC that leads nowhere.

    A guest agrees with its NIC on checksums and segmentation, once. Only with a tap there is something to
    agree on, so what is frozen for nodes with taps must have one, which it makes itself.
    """

    net: int
    mac: str
    tap: str = ""


Nic = UserNic | SwitchNic | TapNic | VethNic | ScriptNic | LooseNic


def loose(net: int, mac: str, *, tap: bool) -> LooseNic:
    """A NIC that leads nowhere, at a tap or not."""
    return LooseNic(net, mac, f"xct{net}" if tap else "")


@dataclass(frozen=True)
class Ports:
    """Where the nodes' forwarded ports begin; node N is at base + N. None: not forwarded."""

    ssh: int
    telnet: int | None
    api: int | None = None  # of Kubernetes, on vm-001 alone: this port itself

    def of(self, number: int) -> tuple[Forward, ...]:
        """The forwards of one node."""
        telnet = (Forward(self.telnet + number, 23),) if self.telnet else ()
        api = (Forward(self.api, kubernetes.PORT),) if self.api and number == kubernetes.CONTROL else ()
        return (Forward(self.ssh + number, 22), *telnet, *api)


def without_bridges(nodes: Sequence[Node], net: str) -> list[str]:
    """Why these nodes cannot have the backend `net`, which has no bridges: containers need some."""
    names = [node.name for node in nodes if node.kind == "container"]
    if not names:
        return []
    some = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return [f"containers ({some}) need bridges: use --net=bridge instead of --net={net}, or --node=vm"]


class NetBackend(Protocol):
    """What a network backend has to do."""

    def preflight(self, nodes: Sequence[Node], ports: Ports, held: Collection[int] = ()) -> list[str]:
        """Everything that is missing on this host for these nodes; nothing is changed.

        `held` are the ports of a cluster that ends before these nodes start.
        """

    def up(self, cluster: ClusterDir, nodes: Sequence[Node], prefix: str, ports: Ports) -> None:
        """Make the nets of these nodes and what leads to the nodes; what is there stays as it is."""

    def unplug(self, cluster: ClusterDir, number: int, ports: Ports | None) -> None:
        """Remove what was made for one node alone; the node has ended. Without `ports` its forwards stay."""

    def down(self, cluster: ClusterDir) -> None:
        """Remove all that `up` made, also after a crash. It is no error if there is nothing."""

    def nics(self, cluster: ClusterDir, node: Node, prefix: str, ports: Ports) -> list[Nic]:
        """The NICs of a node, eth0 first."""

    def inside(self, cluster: ClusterDir | None) -> list[str]:
        """The words that must precede the command line of a program, so that it runs in the cluster's net 0.

        Empty: nothing, it runs where we are. Without a cluster, for a machine with loose NICs.
        """

    def ssh(self, cluster: ClusterDir, number: int, ports: Ports) -> tuple[str, int]:
        """Where a node's ssh server is reached from here."""

    def processes(self, cluster: ClusterDir) -> Mapping[str, int | None]:
        """The processes that belong to the nets by what they are; None for one that has died."""
