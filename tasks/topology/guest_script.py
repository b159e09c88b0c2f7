"""topology -> the shell functions with which guests set up their nets (/usr/lib/network-topology/<name>.sh).

A guest knows its number and the counts, so one file serves all nodes, also those added later. The commands in
it are functions of a library in the overlay network-topology. The result is what netplan plans.
"""

from tasks.definitions.roles import LAST, RANGES
from tasks.topology.netplan import TABLE, device
from tasks.topology.schema import Group, Link, Route, Topology


def script(topology: Topology) -> str:
    """The file: the nets that host names stand for, and a function for each role."""
    lines = [
        "# shellcheck shell=sh disable=SC2034,SC2154 # set for, and by, network-topology.sh",
        f"# Made from topology/{topology.name}.yaml.",
        "",
        f"nt_names='{' '.join(names(topology))}'",
        f"nt_scaleout='{' '.join(map(str, topology.scaleout))}'",
    ]
    for role in RANGES:
        lines += ["", f"{role}() {{", *_role(topology, role), "}"]
    return "\n".join(lines) + "\n"


def names(topology: Topology) -> list[str]:
    """FIRST-LAST:NET, where NET is the first net on which these nodes have an address."""
    nets = [_first_net(topology, number) for number in range(1, LAST + 1)]
    starts = [i for i, net in enumerate(nets) if i == 0 or net != nets[i - 1] or i + 1 in _firsts()]
    ends = [*starts[1:], len(nets)]
    return [f"{a + 1}-{b}:{nets[a]}" for a, b in zip(starts, ends, strict=True) if nets[a]]


def _firsts() -> set[int]:
    return {first for first, _ in RANGES.values()}


def _first_net(topology: Topology, number: int) -> int | None:
    name = topology.group_of(number)
    if name is None:
        return None
    group = topology.groups[name]
    ports = _ports(group)
    own = [link.subnet for link in group.links if link.net not in ports and link.host is None]
    own += [bridge.address for bridge in group.bridges.values()]
    return next((net for net in own if net), None)


def _role(topology: Topology, role: str) -> list[str]:
    """The body of a role's function: one case for each of its groups, the most general last."""
    first, last = RANGES[role]
    groups = [g for g in topology.groups.values() if any(a <= last and b >= first for a, b in g.ranges)]
    if len(groups) == 1 and groups[0].role:
        return ["\t" + line for line in commands(groups[0])] or ["\t:"]
    lines = ["\tcase $i in"]
    for group in groups:
        lines += [f"\t{_pattern(group)})", *("\t\t" + line for line in commands(group)), "\t\t;;"]
        if group.role:
            break
    else:
        lines.append('\t*) nt_fail "topology $TOPOLOGY has no place for $nt_host" ;;')
    return [*lines, "\tesac"]


def _pattern(group: Group) -> str:
    if group.role:
        return "*"
    return " | ".join(str(n) for first, last in group.ranges for n in range(first, last + 1))


def commands(group: Group) -> list[str]:
    """What a node of the group does, in the words of the library."""
    lines = ["fwsetup"] if group.forward else []
    ports = _ports(group)
    devices = {link.net: device(i) for i, link in enumerate(group.links)}
    for link in group.links:
        lines += _address(link, devices[link.net]) if link.net not in ports else []
    for name, bridge in group.bridges.items():
        lines.append(f"brsetup {name} {' '.join(devices[net] for net in bridge.links)} {bridge.address}")
    lines += ["extroute"] if group.uplink else []
    lines += [f"masquerade {' '.join(map(str, group.nat))}"] if group.nat else []
    tables = {net: TABLE + 2 * i for i, net in enumerate(_bound(group))}
    return [*lines, *(_route(route, devices, tables) for route in group.routes)]


def _ports(group: Group) -> set[int]:
    return {net for bridge in group.bridges.values() for net in bridge.links}


def _bound(group: Group) -> list[int]:
    return list(dict.fromkeys(route.bound_to for route in group.routes if route.bound_to))


def _address(link: Link, dev: str) -> list[str]:
    lines = []
    if link.subnet is not None:
        host = f" {link.net} {link.host}" if link.host is not None else ""
        wire = f" {link.net}" if link.net != link.subnet and not host else host
        lines.append(f"ifsetup {dev} {link.subnet}{wire}")
    if link.template:
        lines.append(f'[ -z "${link.template}" ] || xlansetup {dev} {link.net} "${link.template}"')
    return lines


def _route(route: Route, devices: dict[int, str], tables: dict[int, int]) -> str:
    who, _, net = route.to.rpartition("@")
    to = f"{net}.{who}" if who else route.to
    guard = f'[ "${route.when}" != yes ] || ' if route.when else ""
    if route.direct is not None:
        return f"{guard}linkroute {to} {devices[route.direct]}"
    if who in RANGES:
        return f"{guard}hostroutes {who} {net} {route.via[0].partition('@')[2]}"
    every = " ".join(_hop(via) for via in route.via)
    if route.bound_to:
        return f"{guard}boundroute {devices[route.bound_to]} {tables[route.bound_to]} {to} {every}"
    return f"{guard}netroute {to} {every}"


def _hop(via: str) -> str:
    """`201@1` in the notation of the library, 1.201."""
    who, _, net = via.partition("@")
    return f"{net}.{who}"
