"""Networking without root or preparation: net 0 is QEMU's user network, the others are ports of our switch.

The switch (switch.py) is one process a cluster; its ports are unix sockets below the cluster's directory.
So nothing is sent to any network of the host, and a node does not hear its own frames, as with multicast.
"""

import ipaddress
import socket
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from tasks.base import files, helper, records, unix_sockets
from tasks.base.paths import ClusterDir
from tasks.base.records import ProcessRecord
from tasks.definitions.addresses import HOST, v4, v6
from tasks.definitions.schema import Node
from tasks.run.net import forwards, net_state
from tasks.run.net.protocol import Nic, Ports, SwitchNic, UserNic, without_bridges

PROGRAM = Path(__file__).parent / "programs" / "switch.py"


class Userspace:
    """The backend `userspace`."""

    def preflight(self, nodes: Sequence[Node], ports: Ports, held: Collection[int] = ()) -> list[str]:
        """Ports of the host that somebody else has, and containers."""
        return without_bridges(nodes, "userspace") + forwards.taken(nodes, ports, held)

    def up(self, cluster: ClusterDir, nodes: Sequence[Node], prefix: str, ports: Ports) -> None:
        """Start a switch for the nets that have none yet."""
        nets = {net for node in nodes for net in node.nets}
        lacking = [net for net in sorted(nets - {0}) if not _answers(cluster.net / str(net))]
        if not lacking:
            return
        cluster.net.mkdir(parents=True, exist_ok=True)
        for net in lacking:  # what a switch that was killed left behind
            (cluster.net / str(net)).unlink(missing_ok=True)
            (cluster.net / f".{net}").unlink(missing_ok=True)
        log = cluster.net / f"switch-{lacking[0]}.log"
        argv = [sys.executable, "-I", str(PROGRAM), str(cluster.net), *map(str, lacking)]
        state = log.with_suffix(".json")
        switch = helper.Helper("the switch did not start", argv, state, log, cluster.root)
        sockets = [cluster.net / str(net) for net in lacking]
        helper.start(switch, lambda _: all(path.exists() for path in sockets), ProcessRecord.at)

    def down(self, cluster: ClusterDir) -> None:
        """End the switches."""
        for state in net_state.switches(cluster):
            records.end(state)
        files.remove(cluster.net)

    def nics(self, cluster: ClusterDir, node: Node, prefix: str, ports: Ports) -> list[Nic]:
        """A user NIC on net 0, a port of the switch on the others."""
        return [self._nic(cluster, node, net, prefix, ports) for net in node.nets]

    def unplug(self, cluster: ClusterDir, number: int, ports: Ports | None) -> None:
        """Nothing: the switch notices that a port was closed."""

    def inside(self, cluster: ClusterDir | None) -> list[str]:
        """A node reaches the host's loopback as 192.168.0.250."""
        return []

    def ssh(self, cluster: ClusterDir, number: int, ports: Ports) -> tuple[str, int]:
        """QEMU forwards it."""
        return "127.0.0.1", ports.ssh + number

    def processes(self, cluster: ClusterDir) -> dict[str, int | None]:
        """The switches."""
        return {state.stem: records.process(state) for state in net_state.switches(cluster)}

    def _nic(self, cluster: ClusterDir, node: Node, net: int, prefix: str, ports: Ports) -> Nic:
        if net:
            return SwitchNic(net, node.mac(net), str(cluster.net / str(net)))
        return UserNic(
            0, node.mac(0), guest=v4(0, node.number), host=v4(0, HOST), host6=v6(prefix, 0, HOST),
            prefix6=_net64(prefix), forwards=ports.of(node.number),
        )  # fmt: skip


def _net64(prefix: str) -> str:
    """The network of our addresses behind `prefix`."""
    return str(ipaddress.IPv6Interface(f"{v6(prefix, 0, HOST)}/64").network.network_address)


def _answers(path: Path) -> bool:
    """Whether a switch listens on this socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            unix_sockets.connect(probe, path)
        except OSError:
            return False
    return True


BACKEND = Userspace()
