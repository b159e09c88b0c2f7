"""Plans of nodes -> who reaches whom: their routes are walked, there and back, in both families."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from tasks.base.node_names import node_name
from tasks.topology.netplan import ClusterShape, Hop, Interface, NodePlan
from tasks.topology.schema import Topology

FAMILIES = (4, 6)
SAMPLE = 5  # nodes of a group that are walked from and to; they differ in nothing but their number
Bits = tuple[int, int]  # a network as number and mask
Step = tuple[int, int, int, bool]  # node, family, target, whether the packet is somebody else's


@dataclass(frozen=True)
class Promised:
    """One promise of a topology: node `source` reaches node `to` at these addresses."""

    source: int
    to: int
    v4: str
    v6: str
    net: int  # the net that the addresses are on
    key: str  # the promise in the definition

    def address(self, family: int) -> str:
        """The address in this family."""
        return self.v4 if family == 4 else self.v6


@dataclass(frozen=True)
class Leg:
    """One step: out of an interface, to this address on its segment (None: the target itself)."""

    dev: Interface
    gateway: int | None
    source: str | None  # the address that packets are sent from


@dataclass
class Fabric:
    """The plans of all nodes as one network, with tables to look up addresses and routes."""

    plans: Mapping[int, NodePlan]
    segments: Mapping[int, int]  # wire -> a wire that stands for all that bridges connect
    owners: dict[tuple[int, int, int], int] = field(default_factory=dict)  # family, segment, address -> node
    tables: dict[tuple[int, int], list[tuple[Bits, list[Leg]]]] = field(default_factory=dict)
    walks: dict[Step, str | None] = field(default_factory=dict)

    def segment(self, node: NodePlan, dev: Interface) -> int | None:
        """The segment an interface is on; a bridge is where its ports are."""
        if dev.net is not None:
            return self.segments.get(dev.net, dev.net)
        ports = [each.net for each in node.interfaces if each.bridge == dev.name and each.net is not None]
        return self.segments.get(ports[0], ports[0]) if ports else None


def promised(topology: Topology, plans: Mapping[int, NodePlan], shape: ClusterShape) -> list[Promised]:
    """Every pair of nodes that the topology promises, among the nodes of these plans."""
    pairs = []
    for i, promise in enumerate(topology.reachable):
        if promise.when and not shape.variables.get(promise.when):
            continue
        for source in (node for node in plans.values() if node.group == promise.source):
            for to in (node for node in plans.values() if node.group == promise.to and node != source):
                pairs += _pairs(source, to, promise.nets, f"reachable.{i}")
    return pairs


def _pairs(source: NodePlan, to: NodePlan, nets: tuple[int, ...], key: str) -> list[Promised]:
    placed = {each.subnet: each for each in to.interfaces if each.subnet and each.addresses}
    chosen = nets or tuple(placed)[:1]
    ends = [(net, placed[net].addresses[0]) for net in chosen if net in placed]
    return [Promised(source.number, to.number, own.v4, own.v6, net, key) for net, own in ends]


def broken(
    topology: Topology, plans: Mapping[int, NodePlan], shape: ClusterShape
) -> Iterator[tuple[Promised, str]]:
    """The promised pairs that do not reach each other, each with the reason; of large groups a sample."""
    walked = fabric(plans)
    ends = _sample(plans)
    for pair in promised(topology, plans, shape):
        if pair.source not in ends or pair.to not in ends:
            continue
        for family in FAMILIES:
            why = reaches(walked, family, pair.source, pair.address(family))
            if why:
                yield pair, why
                break


def fabric(plans: Mapping[int, NodePlan]) -> Fabric:
    """The nodes as one network."""
    network = Fabric(plans, segments(plans))
    for node in plans.values():
        for dev in node.interfaces:
            at = network.segment(node, dev)
            for own in dev.addresses if at is not None else ():
                for family in FAMILIES:
                    network.owners[family, at or 0, _number(own.text(family))] = node.number
    return network


def segments(plans: Mapping[int, NodePlan]) -> dict[int, int]:
    """Wires that bridges connect, each with the one that stands for all of them."""
    leader: dict[int, int] = {}
    for node in plans.values():
        for name in node.bridges:
            joined = {each.net for each in node.interfaces if each.bridge == name and each.net is not None}
            joined |= {wire for wire, one in leader.items() if one in joined}
            lowest = min(leader.get(net, net) for net in joined)
            leader.update({net: lowest for net in joined})
    return leader


def reaches(walked: Fabric, family: int, source: int, target: str) -> str | None:
    """None when every path leads to `target` and every answer comes back; else the reason."""
    goal = _number(target)
    why = _walk(walked, family, source, goal)
    if why:
        return f"{node_name(source)} does not reach {target}: {why}"
    end = next(node for (kind, _, own), node in walked.owners.items() if (kind, own) == (family, goal))
    for leg in _lookup(walked, family, source, goal):
        if leg.source is None:
            return f"{node_name(source)} has no address on {leg.dev.name}, so it cannot be answered"
        why = _walk(walked, family, end, _number(leg.source))
        if why:
            return f"{node_name(end)} cannot answer {leg.source}: {why}"
    return None


def _walk(walked: Fabric, family: int, at: int, goal: int, *, transit: bool = False) -> str | None:
    """None when all paths from node `at` lead to `goal`; `transit`: the packet is not its own."""
    key = (at, family, goal, transit)
    if key not in walked.walks:
        walked.walks[key] = f"the routes go in a circle at {node_name(at)}"  # until the walk below has ended
        walked.walks[key] = _step(walked, key)
    return walked.walks[key]


def _step(walked: Fabric, key: Step) -> str | None:
    at, family, goal, transit = key
    node = walked.plans[at]
    if any(_number(own.text(family)) == goal for dev in node.interfaces for own in dev.addresses):
        return None
    if transit and not node.forward:
        return f"{node.name} does not forward"
    legs = _lookup(walked, family, at, goal)
    if not legs:
        return f"{node.name} has no route to {_text(goal, family)}"
    for leg in legs:
        gateway = goal if leg.gateway is None else leg.gateway
        segment = walked.segment(node, leg.dev)
        owner = walked.owners.get((family, -1 if segment is None else segment, gateway))
        if owner is None:
            return f"no node on the net of {leg.dev.name} of {node.name} has {_text(gateway, family)}"
        why = _walk(walked, family, owner, goal, transit=True)
        if why:
            return why
    return None


def _lookup(walked: Fabric, family: int, at: int, goal: int) -> list[Leg]:
    """The legs of the longest match; a subnet of an own interface comes before a route."""
    if (at, family) not in walked.tables:
        walked.tables[at, family] = _table(walked.plans[at], family)
    return next((legs for (net, mask), legs in walked.tables[at, family] if goal & mask == net), [])


def _table(node: NodePlan, family: int) -> list[tuple[Bits, list[Leg]]]:
    rows: list[tuple[Bits, list[Leg]]] = []
    for dev in node.interfaces:
        for own in dev.addresses:
            rows.append((_bits(own.interface(family)), [Leg(dev, None, own.text(family))]))
    names = {dev.name: dev for dev in node.interfaces}
    for way in node.routes:
        to = way.to(family)
        legs = [_leg(names[hop.dev], hop, family) for hop in way.hops if hop.dev]
        if to and way.table is None and legs:
            rows.append((_bits(to), legs))
    return sorted(rows, key=lambda row: -row[0][1])


def _leg(dev: Interface, hop: Hop, family: int) -> Leg:
    """The leg to a next hop; its source is the first address of the interface."""
    source = dev.addresses[0].text(family) if dev.addresses else None
    return Leg(dev, _number(hop.address.text(family)) if hop.address else None, source)


@cache
def _bits(network: str) -> Bits:
    parsed = ipaddress.ip_interface(network).network
    return int(parsed.network_address), int(parsed.netmask)


@cache
def _number(address: str) -> int:
    return int(ipaddress.ip_address(address))


def _text(number: int, family: int) -> str:
    return str(ipaddress.IPv4Address(number) if family == 4 else ipaddress.IPv6Address(number))


def _sample(plans: Mapping[int, NodePlan]) -> set[int]:
    groups: dict[str | None, list[int]] = {}
    for node in plans.values():
        groups.setdefault(node.group, []).append(node.number)
    return {number for all_ in groups.values() for number in (*all_[: SAMPLE - 1], all_[-1])}
