"""Linux bridges and taps: as fast as it gets, and the host is a neighbour on every net.

    xcbrN           the bridge of net N; the host's side of it has 192.168.N.250 and <prefix>:192.168.N.250
    xcbrN_tM        the tap of node M on net N
    xcwN_tM         between a container's cable and its net while that is a bad one (container_cable.py)

They are in a network namespace that the cluster owns (holder.py keeps it), so nothing of them is seen on the
host and no root is needed; or in the namespace that we are in, when it has bridges of ours (place.py).
"""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tasks.base import files, proc, progress, records
from tasks.base.errors import CommandError, UserError
from tasks.base.paths import ClusterDir
from tasks.definitions.addresses import BITS4, BITS6, HOST, v4, v6
from tasks.definitions.schema import Node
from tasks.run.net import forwards, host_support, namespace, net_state, obstacles
from tasks.run.net.net_state import NetPlace, Taps
from tasks.run.net.protocol import Nic, Ports, TapNic, VethNic

LINKS = Path(__file__).parent / "programs" / "links.py"
LARGEST_MTU = 65521  # of a tap


class BridgeNet:
    """The backend `bridge`."""

    def preflight(self, nodes: Sequence[Node], ports: Ports, held: Collection[int] = ()) -> list[str]:
        """What keeps bridges from being made, and ports of the host that somebody else has."""
        missing = list(obstacles.of_bridges())
        missing += [
            f"--mtu={node.mtu} is more than a tap can have ({LARGEST_MTU})"
            for node in nodes[:1]
            if node.mtu > LARGEST_MTU
        ]
        return missing + ([] if host_support.here() else forwards.taken(nodes, ports, held))

    def up(self, cluster: ClusterDir, nodes: Sequence[Node], prefix: str, ports: Ports) -> None:
        """Make the namespace, if there is none yet, then bridges, taps and forwards."""
        place = self._place(cluster)
        if not place:
            place = _settle_here(cluster) if host_support.here() else namespace.make(cluster)
        links = plan(nodes, prefix)
        own = (name for node in nodes for net in node.nets for name in _names(net, node))
        taps = {*net_state.taps(cluster), *own}
        records.write(cluster.net / net_state.TAPS, Taps(taps=tuple(sorted(taps))))
        self._links(cluster, links)
        if place.own:
            namespace.connect(cluster, place)
            namespace.order(cluster, {"open": _forwards(nodes, ports)})

    def unplug(self, cluster: ClusterDir, number: int, ports: Ports | None) -> None:
        """Remove the taps of a node and its forwards."""
        place = net_state.intact_place(cluster)
        if not place or (place.own and not place.kept):
            return
        taps = [name for name in net_state.taps(cluster) if name.endswith(f"_t{number}")]
        self._links(cluster, {"gone": taps})
        if place.own and ports:
            namespace.order(cluster, {"close": [forward.host_port for forward in ports.of(number)]})

    def down(self, cluster: ClusterDir) -> None:
        """End the holder, and with it all that is in its namespace; or remove our links."""
        place = net_state.intact_place(cluster)
        if place and place.own:
            namespace.end(place, cluster)
        elif place:
            self._leave(cluster, place)
        files.remove(cluster.net)

    def nics(self, cluster: ClusterDir, node: Node, prefix: str, ports: Ports) -> list[Nic]:
        """A tap on every net; for a container a cable of that name, which it makes itself."""
        names = {net: tap_name(net, node.number) for net in node.nets}
        if node.kind == "container":
            return [
                VethNic(net, node.mac(net), name, f"xcbr{net}", wire_name(net, node.number))
                for net, name in names.items()
            ]
        return [TapNic(net, node.mac(net), name) for net, name in names.items()]

    def inside(self, cluster: ClusterDir | None) -> list[str]:
        """nsenter, or unshare for machines that are connected to nothing."""
        if cluster is None:
            return host_support.fence()
        place = self._place(cluster)
        if not place:
            raise UserError("the cluster has no network namespace", "start the cluster again: xc start")
        if not place.own:
            _check_same(place)
            return []
        return namespace.joining(place)

    def ssh(self, cluster: ClusterDir, number: int, ports: Ports) -> tuple[str, int]:
        """A port of the host; in a shared namespace the node itself."""
        place = net_state.place(cluster)
        if place and not place.own:
            return v4(0, number), 22
        return "127.0.0.1", ports.ssh + number

    def processes(self, cluster: ClusterDir) -> dict[str, int | None]:
        """What keeps a namespace of the cluster's own, and what connects it with the outside."""
        place = net_state.intact_place(cluster)
        if not place or not place.own:
            return {}
        marks = {"holder": place.holder, "namespace": place.inner, "uplink": place.uplink}
        return {name: mark.running for name, mark in marks.items() if mark}

    def _leave(self, cluster: ClusterDir, place: NetPlace) -> None:
        """Remove our links from a shared namespace; root may be outside of it."""
        name = host_support.name_of(place.ns or 0)
        if place.ns == host_support.namespace():
            self._links(cluster, {"gone": list(net_state.taps(cluster))})
        elif name:
            sudo = [] if host_support.capable(host_support.SYS_ADMIN) else ["sudo", "-n"]
            where = [*sudo, proc.need("nsenter"), f"--net={name}"]
            try:
                self._links(cluster, {"gone": list(net_state.taps(cluster))}, where)
            except UserError:
                progress.say(
                    f"the taps of the cluster stay in the namespace {name} until the next start in it: "
                    "we cannot enter it"
                )

    def _place(self, cluster: ClusterDir) -> NetPlace | None:
        """Where the bridges are; None when there are none. UserError when that is gone."""
        place = net_state.place(cluster)
        if place and place.own and not place.kept:
            raise UserError(
                "the network namespace of the cluster is gone: the process that kept it has died",
                "start the cluster again: xc start",
            )
        return place

    def _links(self, cluster: ClusterDir, links: dict[str, Any], where: Sequence[str] | None = None) -> None:
        path = cluster.net / "links.json"
        files.write_json(path, links)
        prefix = self.inside(cluster) if where is None else where
        try:
            proc.output([*prefix, sys.executable, "-I", str(LINKS), str(path)])
        except CommandError as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"the bridges cannot be made: {reason}") from error


def tap_name(net: int, number: int) -> str:
    """The tap of a node on a net, as upstream names it."""
    return f"xcbr{net}_t{number}"


def wire_name(net: int, number: int) -> str:
    """What is between the cable of a container and a net while that cable is a bad one."""
    return f"xcw{net}_t{number}"


def _names(net: int, node: Node) -> tuple[str, ...]:
    """The links that a node may have on a net, and that nobody removes for us."""
    wires = (wire_name(net, node.number),) if node.kind == "container" else ()
    return tap_name(net, node.number), *wires


def bridges(nets: Sequence[int], prefix: str, mtu: int) -> list[list[Any]]:
    """The bridges of these nets, for links.py.

    The host's MAC address is fixed: a bridge would take that of a tap, and saved nodes know it.
    """
    return [
        [
            f"xcbr{net}",
            f"00:00:00:01:{net:02x}:{HOST:02x}",
            [f"{v4(net, HOST)}/{BITS4}", f"{v6(prefix, net, HOST)}/{BITS6}"],
            mtu,
        ]
        for net in nets
    ]


def plan(nodes: Sequence[Node], prefix: str) -> dict[str, Any]:
    """The bridges and taps of these nodes, for links.py."""
    nets = sorted({net for node in nodes for net in node.nets})
    return {
        "bridges": bridges(nets, prefix, max(node.mtu for node in nodes)),
        "taps": [
            [tap_name(net, node.number), f"xcbr{net}", node.mtu]
            for node in nodes
            if node.kind == "vm"
            for net in node.nets
        ],
    }


def _forwards(nodes: Sequence[Node], ports: Ports) -> list[list[Any]]:
    return [
        [forward.host_port, v4(0, node.number), forward.guest_port]
        for node in nodes
        if 0 in node.nets
        for forward in ports.of(node.number)
    ]


def _settle_here(cluster: ClusterDir) -> NetPlace:
    """Use the namespace we are in."""
    place = NetPlace(own=False, ns=host_support.namespace())
    cluster.net.mkdir(parents=True, exist_ok=True)
    records.write(cluster.net / net_state.PLACE, place)
    return place


def _check_same(place: NetPlace) -> None:
    if place.ns != host_support.namespace():
        name = host_support.name_of(place.ns or 0)
        raise UserError(
            f"this cluster runs in the network namespace {name.name if name else place.ns}, "
            "and this command must run there too",
            "run it there: xc nsenter N COMMAND...",
        )


BACKEND = BridgeNet()
