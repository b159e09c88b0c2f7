"""topology + shape of a cluster -> a plan for each node: interfaces, addresses, routes, forwarding, NAT.

Everything else is derived from the plans: reachability, pictures, the checks of `verify`. The scripts of the
guests (guest_script) do the same in shell; a test compares the two.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.base.node_names import node_name
from tasks.definitions.addresses import BITS4, BITS6, HOST, v4, v6
from tasks.definitions.roles import FIRST, role_of
from tasks.topology.schema import Group, Link, Route, Topology

TABLE = 300  # routing table of the first bound route, IPv4; IPv6 takes the next number


@dataclass(frozen=True)
class ClusterShape:
    """What a cluster adds to its topology: how many nodes, their prefix and MTU, the guests' variables."""

    nvm: int = 4
    nrouters: int = 2
    ntesters: int = 0
    more: tuple[int, ...] = ()  # nodes beyond these counts
    prefix: str = "fd00:"  # of IPv6 addresses
    mtu: int = 1500  # of every net, in bytes
    variables: Mapping[str, str] = field(default_factory=dict)  # of guests

    @property
    def numbers(self) -> tuple[int, ...]:
        """All nodes."""
        counts = {"vm": self.nvm, "router": self.nrouters, "tester": self.ntesters}
        return tuple(sorted({n for role in counts for n in self.of(role)} | set(self.more)))

    def of(self, role: str) -> range:
        """The node numbers of a role, by its count."""
        count = {"vm": self.nvm, "router": self.nrouters, "tester": self.ntesters}[role]
        return range(FIRST[role], FIRST[role] + count)


@dataclass(frozen=True)
class Address:
    """An address of a node, in both families."""

    v4: str
    bits4: int
    v6: str
    bits6: int

    def text(self, family: int) -> str:
        """The address of this family (4 or 6)."""
        return self.v4 if family == 4 else self.v6

    def interface(self, family: int) -> str:
        """With the length of the subnet, as `ip address` takes it."""
        return f"{self.v4}/{self.bits4}" if family == 4 else f"{self.v6}/{self.bits6}"


@dataclass(frozen=True)
class Interface:
    """An interface of a node."""

    name: str
    net: int | None  # the wire; None for a bridge
    subnet: int | None  # the net whose subnet it is in; None without an address
    addresses: tuple[Address, ...]
    mtu: int
    bridge: str | None = None  # the bridge that it is a port of


@dataclass(frozen=True)
class Hop:
    """Where a route leads: an address on an interface, or the interface's neighbours (no address)."""

    address: Address | None
    dev: str | None  # None: no interface is in the subnet of the address
    net: int  # whose subnet that is
    number: int | None = None  # the node


@dataclass(frozen=True)
class Way:
    """A route."""

    key: str  # where in the definition it stands
    to4: str  # with the length
    to6: str | None  # None: IPv4 only
    hops: tuple[Hop, ...]
    bound_to: str | None = None  # only for sockets bound to this interface ...
    table: int | None = None  # ... it is in this table, IPv6 in the next

    def to(self, family: int) -> str | None:
        """The destination in this family."""
        return self.to4 if family == 4 else self.to6


@dataclass(frozen=True)
class NodePlan:
    """Everything that a topology decides about one node."""

    number: int
    role: str
    group: str | None  # None: the topology has no place for it
    interfaces: tuple[Interface, ...]
    routes: tuple[Way, ...] = ()
    forward: bool = False
    uplink: bool = False
    nat: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The hostname."""
        return node_name(self.number)

    @property
    def bridges(self) -> Mapping[str, tuple[str, ...]]:
        """Bridges and their ports."""
        ports: dict[str, tuple[str, ...]] = {}
        for each in self.interfaces:
            if each.bridge:
                ports[each.bridge] = (*ports.get(each.bridge, ()), each.name)
        return ports

    @property
    def sysctls(self) -> Mapping[str, str]:
        """What is written below /proc/sys/net."""
        hash_policy = self.forward or any(len(way.hops) > 1 for way in self.routes)
        return {
            **({"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"} if self.forward else {}),
            **({f"ipv{n}/fib_multipath_hash_policy": "1" for n in (4, 6)} if hash_policy else {}),
        }

    def in_subnet(self, subnet: int) -> Interface | None:
        """The interface in the subnet of this net."""
        return next((each for each in self.interfaces if each.subnet == subnet), None)

    def on_net(self, net: int) -> Interface | None:
        """The interface on this wire."""
        return next((each for each in self.interfaces if each.net == net), None)


def plans(topology: Topology, shape: ClusterShape) -> dict[int, NodePlan]:
    """The plan of every node of a cluster."""
    return {number: plan(topology, number, shape) for number in shape.numbers}


def plan(topology: Topology, number: int, shape: ClusterShape) -> NodePlan:
    """The plan of one node."""
    name = topology.group_of(number)
    role = role_of(number)
    if name is None:
        return NodePlan(number, role, None, (_net0(number, shape),))
    group = topology.groups[name]
    bare = NodePlan(number, role, name, (_net0(number, shape), *_interfaces(group, number, shape)))
    ways = [
        way
        for i, route in enumerate(group.routes)
        if not route.when or shape.variables.get(route.when) == "yes"
        for way in _ways(bare, f"groups.{name}.routes.{i}", route, shape)
    ]
    return NodePlan(
        number, role, name, bare.interfaces, (*_tabled(ways), *_uplink(group, shape)), group.forward,
        group.uplink, group.nat,
    )  # fmt: skip


def address(net: int, host: int, prefix: str) -> Address:
    """The address of `host` in the subnet of `net`."""
    return Address(v4(net, host), BITS4, v6(prefix, net, host), BITS6)


def from_template(template: str, net: int, number: int, prefix: str) -> Address:
    """The template `NET/N/H` divides NET/N into subnets of H bits: the address `number` in subnet `net`.

    Raises ValueError when it is no such template, or when its subnets have no room for the number.
    """
    base, _, inner = template.rpartition("/")
    try:
        top, bits = ipaddress.IPv4Network(base, strict=False), int(inner)
    except ValueError:
        top, bits = ipaddress.IPv4Network("0.0.0.0/32"), 0
    if "/" not in base or not top.prefixlen <= bits <= 30:
        raise ValueError(
            f"'{template}' is no NET/N/H with N <= H <= 30; an example of one is 169.254.0.0/20/24"
        )
    if net >= 1 << (bits - top.prefixlen) or number >= (1 << (32 - bits)) - 1:
        raise ValueError(f"{template} has no room for node {number} on net {net}")
    address4 = str(top.network_address + (net << (32 - bits)) + number)
    return Address(address4, bits, f"{prefix}:{address4}", bits + 96)


def device(index: int) -> str:
    """The interface of a link, by its place in the list."""
    return f"eth{index + 1}"


def _net0(number: int, shape: ClusterShape) -> Interface:
    return Interface("eth0", 0, 0, (address(0, number, shape.prefix),), shape.mtu)


def _interfaces(group: Group, number: int, shape: ClusterShape) -> list[Interface]:
    ports = {net: name for name, bridge in group.bridges.items() for net in bridge.links}
    interfaces = []
    for i, link in enumerate(group.links):
        port = ports.get(link.net)
        own = () if port else _addresses(link, number, shape)
        subnet = (link.net if link.subnet is None else link.subnet) if own else None
        interfaces.append(Interface(device(i), link.net, subnet, own, shape.mtu, port))
    for name, bridge in group.bridges.items():
        own = (address(bridge.address, number, shape.prefix),)
        interfaces.append(Interface(name, None, bridge.address, own, shape.mtu))
    return interfaces


def _addresses(link: Link, number: int, shape: ClusterShape) -> tuple[Address, ...]:
    addresses = []
    if link.subnet is not None:
        addresses.append(address(link.subnet, number if link.host is None else link.host, shape.prefix))
    template = shape.variables.get(link.template) if link.template else None
    if template:
        addresses.append(from_template(template, link.net, number, shape.prefix))
    return tuple(addresses)


def _ways(node: NodePlan, key: str, route: Route, shape: ClusterShape) -> list[Way]:
    if route.direct is not None:
        dev = node.on_net(route.direct)
        return [
            Way(key, *_destination(route.to, shape), (Hop(None, dev.name if dev else None, route.direct),))
        ]
    who, _, net = route.to.partition("@")
    if who in FIRST:  # one route for each node of a role, over its other address
        via = int(route.via[0].partition("@")[2])
        return [
            Way(key, *_destination(f"{n}@{net}", shape), (_hop(node, n, via, shape),)) for n in shape.of(who)
        ]
    hops = tuple(hop for text in route.via for hop in _hops(node, text, shape))
    bound = node.on_net(route.bound_to) if route.bound_to else None
    if not hops:
        return []
    return [Way(key, *_destination(route.to, shape), hops, bound.name if bound else None)]


def _hops(node: NodePlan, text: str, shape: ClusterShape) -> list[Hop]:
    who, _, net = text.partition("@")
    numbers = shape.of(who) if who in FIRST else [int(who)]
    return [_hop(node, number, int(net), shape) for number in numbers]


def _hop(node: NodePlan, number: int, net: int, shape: ClusterShape) -> Hop:
    dev = node.in_subnet(net)
    return Hop(address(net, number, shape.prefix), dev.name if dev else None, net, number)


def _destination(to: str, shape: ClusterShape) -> tuple[str, str]:
    if to == "default":
        return "0.0.0.0/0", "::/0"
    host, _, net = to.rpartition("@")
    if host:
        one = address(int(net), int(host), shape.prefix)
        return f"{one.v4}/32", f"{one.v6}/128"
    all_ = address(int(net), 0, shape.prefix)
    return all_.interface(4), all_.interface(6)


def _tabled(ways: list[Way]) -> list[Way]:
    """Give the bound routes of each interface a routing table."""
    devices = list(dict.fromkeys(way.bound_to for way in ways if way.bound_to))
    tables = {dev: TABLE + 2 * i for i, dev in enumerate(devices)}
    return [
        Way(way.key, way.to4, way.to6, way.hops, way.bound_to, tables.get(way.bound_to or "")) for way in ways
    ]


def _uplink(group: Group, shape: ClusterShape) -> list[Way]:
    if not group.uplink or shape.variables.get("DHCP_eth0") == "yes":
        return []
    return [Way("uplink", "0.0.0.0/0", None, (Hop(address(0, HOST, shape.prefix), "eth0", 0, HOST),))]
