"""All that is wrong with a topology, found before anything starts: in its definition, then in its plans.

The plans are made twice: once with none of the topology's guest variables set, and once with all of them.
"""

import ipaddress
from collections.abc import Iterator, Mapping

from tasks.base.errors import unknown
from tasks.definitions.addresses import HOST
from tasks.definitions.roles import FIRST, LAST
from tasks.topology import netplan, reachability
from tasks.topology.netplan import ClusterShape, NodePlan
from tasks.topology.schema import Group, Route, Topology


def problems(topology: Topology) -> list[str]:
    """All problems, each with the key that it concerns."""
    lines = list(dict.fromkeys((*_groups(topology), *_whole(topology))))
    if lines:
        return lines
    shape = as_defined(topology)
    for variables in ({}, dict(topology.variables)) if topology.variables else ({},):
        lines += in_cluster(topology, ClusterShape(**{**vars(shape), "variables": variables}))
    return list(dict.fromkeys(lines))


def as_defined(topology: Topology) -> ClusterShape:
    """The shape that the topology itself asks for, with a tester if it has a place for one."""
    nvm, nrouters, ntesters = (
        topology.node_counts.get(key, usual) for key, usual in (("nvm", 4), ("nrouters", 2), ("ntesters", 1))
    )
    return ClusterShape(nvm, nrouters, ntesters, topology.scaleout)


def in_cluster(topology: Topology, shape: ClusterShape) -> list[str]:
    """What is wrong with the topology for these nodes."""
    try:
        plans = netplan.plans(topology, shape)
    except ValueError as error:
        return [f"variables: {error}"]
    lines = [*_addresses(plans), *_subnets(plans), *_hops(plans)]
    if not lines:
        shown: set[str] = set()
        for pair, why in reachability.broken(topology, plans, shape):
            if pair.key not in shown:
                lines.append(f"{pair.key}: {why}")
                shown.add(pair.key)
    return list(dict.fromkeys(lines))


def _groups(topology: Topology) -> Iterator[str]:
    left = set(range(1, LAST + 1))
    for name, group in topology.groups.items():
        where = f"groups.{name}"
        bad = [f"{a}-{b}" if a != b else str(a) for a, b in group.ranges if not 1 <= a <= b <= LAST]
        yield from (f"{where}.nodes: {text}: node numbers are 1-{LAST}" for text in bad)
        own = {number for number in left if group.has(number)}
        if not own and not bad:
            yield f"{where}.nodes: earlier groups already have all nodes of '{group.nodes}'"
        left -= own
        yield from _links(topology, group, where)
        for i, route in enumerate(group.routes):
            yield from _route(topology, group, route, f"{where}.routes.{i}")
        yield from _unknown_nets(topology, f"{where}.nat", group.nat)


def _links(topology: Topology, group: Group, where: str) -> Iterator[str]:
    wires = [link.net for link in group.links]
    yield from _unknown_nets(topology, f"{where}.links", wires)
    twice = sorted({net for net in wires if wires.count(net) > 1})
    yield from (f"{where}.links: net {net} stands twice" for net in twice)
    for i, link in enumerate(group.links):
        subnet = [] if link.subnet is None or link.address is None else [link.subnet]
        yield from _unknown_nets(topology, f"{where}.links.{i}.address", subnet)
        if link.host is not None and not 1 <= link.host <= 254:
            yield f"{where}.links.{i}.address: a host number in a /24 is 1-254, not {link.host}"
        yield from _unknown_variable(topology, f"{where}.links.{i}.template", link.template)
    for name, bridge in group.bridges.items():
        yield from _unknown_nets(topology, f"{where}.bridges.{name}.address", [bridge.address])
        missing = [net for net in bridge.links if net not in wires]
        yield from (f"{where}.bridges.{name}.links: the group has no link to net {net}" for net in missing)
    ports = [net for bridge in group.bridges.values() for net in bridge.links]
    twice = sorted({net for net in ports if ports.count(net) > 1})
    yield from (f"{where}.bridges: net {net} stands twice" for net in twice)


def _route(topology: Topology, group: Group, route: Route, where: str) -> Iterator[str]:
    host, _, net = route.to.rpartition("@")
    if route.to != "default":
        yield from _unknown_nets(topology, f"{where}.to", [int(net)])
    if host.isdigit() and not 1 <= int(host) <= 254:
        yield f"{where}.to: a host number in a /24 is 1-254, not {host}"
    for via in route.via:
        who, _, net = via.partition("@")
        if who.isdigit() and not 1 <= int(who) <= LAST:
            yield f"{where}.via: node numbers are 1-{LAST}, not {who}"
        yield from _unknown_nets(topology, f"{where}.via", [int(net)])
    wires = [link.net for link in group.links]
    for key, net_ in (("direct", route.direct), ("bound_to", route.bound_to)):
        if net_ is not None and net_ not in wires:
            yield f"{where}.{key}: the group has no link to net {net_}"
    yield from _unknown_variable(topology, f"{where}.when", route.when)


def _whole(topology: Topology) -> Iterator[str]:
    used = {link.net for group in topology.groups.values() for link in group.links}
    yield from (f"nets: no group has a link to net {net}" for net in sorted(set(topology.nets) - used))
    for i, promise in enumerate(topology.reachable):
        for key, name in (("from", promise.source), ("to", promise.to)):
            if name not in topology.groups:
                yield f"reachable.{i}.{key}: {unknown('group', name, topology.groups)}"
        yield from _unknown_nets(topology, f"reachable.{i}.nets", promise.nets)
        yield from _unknown_variable(topology, f"reachable.{i}.when", promise.when)
        yield from _not_there(topology, i)
    for role, key in (("vm", "nvm"), ("router", "nrouters"), ("tester", "ntesters")):
        count = getattr(topology.counts, key) or 0
        homeless = [n for n in range(FIRST[role], FIRST[role] + count) if topology.group_of(n) is None]
        if homeless:
            yield f"counts.{key}: a count of {count} includes node {homeless[0]}, which is in no group"
    for number in topology.scaleout:
        if topology.group_of(number) is None:
            yield f"scaleout: no group has node {number}"


def _not_there(topology: Topology, index: int) -> Iterator[str]:
    """A promise names a net on which the group has no address."""
    promise = topology.reachable[index]
    group = topology.groups.get(promise.to)
    if group is None:
        return
    has = {link.subnet or (link.net if link.template else None) for link in group.links}
    has |= {bridge.address for bridge in group.bridges.values()}
    for net in promise.nets:
        if net in topology.nets and net not in has:
            yield f"reachable.{index}.nets: group '{promise.to}' has no address on net {net}"


def _unknown_nets(topology: Topology, where: str, nets: tuple[int, ...] | list[int]) -> Iterator[str]:
    for net in nets:
        if net not in topology.nets:
            yield f"{where}: {unknown('net', str(net), map(str, topology.nets))}"


def _unknown_variable(topology: Topology, where: str, name: str | None) -> Iterator[str]:
    if name is not None and name not in topology.variables:
        yield f"{where}: {unknown('variable', name, topology.variables)}"


def _addresses(plans: Mapping[int, NodePlan]) -> Iterator[str]:
    owners: dict[str, list[str]] = {}
    for node in plans.values():
        for dev in node.interfaces:
            for own in dev.addresses:
                has = owners.setdefault(own.v4, [])
                has.append(f"{node.name} {dev.name}")
                if len(has) == 2:  # more nodes with the same address would be the same problem
                    yield f"groups.{node.group}.links: {' and '.join(has)} both have {own.v4}"


def _subnets(plans: Mapping[int, NodePlan]) -> Iterator[str]:
    """A subnet must be on one segment, and must not overlap another subnet."""
    fabric = reachability.fabric(plans)
    places: dict[ipaddress.IPv4Network, dict[int | None, str]] = {}
    for node in plans.values():
        for dev in node.interfaces:
            for own in dev.addresses:
                subnet = ipaddress.IPv4Interface(own.interface(4)).network
                at = fabric.segment(node, dev)
                places.setdefault(subnet, {}).setdefault(at, f"groups.{node.group}.links")
    for subnet, on in places.items():
        if len(on) > 1:
            nets = " and ".join(str(net) for net in on)
            yield f"{list(on.values())[-1]}: {subnet} is on nets {nets}, which no bridge joins"
    ordered = sorted(places)
    for i, one in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if one.overlaps(other):
                yield f"{list(places[other].values())[0]}: {other} overlaps {one}"


def _hops(plans: Mapping[int, NodePlan]) -> Iterator[str]:
    """Every next hop must be the address of a node that is on the same net."""
    fabric = reachability.fabric(plans)
    gaps: dict[tuple[str, netplan.Hop], str] = {}  # what one node of a group lacks, the others lack too
    for node in plans.values():
        for way in node.routes:
            for hop in (hop for hop in way.hops if hop.address and hop.number != HOST):
                why = _lost(fabric, node, hop)
                if why:
                    gaps.setdefault((f"{way.key}.via", hop), why)
    yield from (f"{where}: {why}" for (where, _), why in gaps.items())


def _lost(fabric: reachability.Fabric, node: NodePlan, hop: netplan.Hop) -> str | None:
    assert hop.address
    dev = next((each for each in node.interfaces if each.name == hop.dev), None)
    if dev is None:
        return f"{node.name} has no address on net {hop.net}, so it cannot send to {hop.address.v4}"
    key = (4, fabric.segment(node, dev) or 0, int(ipaddress.ip_address(hop.address.v4)))
    if key in fabric.owners:
        return None
    return f"no node has {hop.address.v4} on net {hop.net}, the next hop of {node.name}"


def beyond(topology: Topology, numbers: tuple[int, ...]) -> list[int]:
    """Those of the nodes `numbers` that the topology has no place for."""
    return [number for number in numbers if topology.group_of(number) is None]
