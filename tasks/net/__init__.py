"""Network backends: what connects the nodes. They know nothing of QEMU.

A backend makes the nets of a cluster and says of each node which NICs it has; a node backend turns a NIC into
its own options.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from tasks.lib import kubernetes
from tasks.lib.errors import UsageError, unknown
from tasks.lib.model import Node
from tasks.lib.paths import ClusterDir
from tasks.lib.settings import Settings

BACKENDS = ("userspace", "bridge", "custom")


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


Nic = UserNic | SwitchNic | TapNic | ScriptNic | LooseNic


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


class NetBackend(Protocol):
    """What a network backend has to do."""

    def preflight(self, nodes: Sequence[Node], ports: Ports) -> list[str]:
        """Everything that is missing on this host for these nodes; nothing is changed."""

    def up(self, cluster: ClusterDir, nodes: Sequence[Node], prefix: str, ports: Ports) -> None:
        """Make the nets of these nodes and what leads to the nodes; what is there stays as it is."""

    def unplug(self, cluster: ClusterDir, number: int) -> None:
        """Remove what was made for one node alone; the node has ended."""

    def down(self, cluster: ClusterDir) -> None:
        """Remove all that `up` made, also after a crash; nothing there is fine."""

    def nics(self, cluster: ClusterDir, node: Node, prefix: str, ports: Ports) -> list[Nic]:
        """The NICs of a node, eth0 first."""

    def inside(self, cluster: ClusterDir | None) -> list[str]:
        """What stands before the command line of a program that is to run in the cluster's net 0.

        Empty: nothing, it runs where we are. Without a cluster, for a machine with loose NICs.
        """

    def ssh(self, cluster: ClusterDir, number: int, ports: Ports) -> tuple[str, int]:
        """Where a node's ssh server is reached from here."""

    def processes(self, cluster: ClusterDir) -> Mapping[str, int | None]:
        """The processes that belong to the nets by what they are; None for one that has died."""


def get(name: str, script: str = "") -> NetBackend:
    """The backend called `name`; `script` is the user's own, for `custom`."""
    if name not in BACKENDS:
        raise UsageError(unknown("network backend", name, BACKENDS))
    if name == "custom":
        custom: NetBackend = import_module("tasks.net.custom").Custom(script)
        return custom
    backend: NetBackend = import_module(f"tasks.net.{name}").BACKEND
    return backend


def of(settings: Settings) -> NetBackend:
    """The backend of these settings; `auto` is decided."""
    return get(decide(settings)[0], settings.net_setup)


def decide(settings: Settings) -> tuple[str, str]:
    """The backend to use, and why in a few words. For `auto` what this host can do is tried, once a run."""
    if settings.net != "auto":
        return settings.net, "as asked for"
    if settings.net_setup:
        return "custom", "net_setup is set"
    return _best()


@functools.cache
def _best() -> tuple[str, str]:
    place = import_module("tasks.net.place")
    missing: list[str] = place.obstacles()
    if missing:
        return "userspace", f"no bridges: {missing[0].partition(': apt-get')[0]}"
    return "bridge", str(place.choice())


def decided(settings: Settings) -> Settings:
    """The same settings with the backend by name, and the user's program by its whole path."""
    name, _ = decide(settings)
    script = os.path.abspath(settings.net_setup) if settings.net_setup else ""
    if (settings.net, settings.net_setup) == (name, script):
        return settings
    return settings.model_copy(update={"net": name, "net_setup": script})
