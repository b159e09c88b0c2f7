"""The keys of a topology: ovl/<overlay>/topology/<name>.yaml. A field's comment is its documentation.

A net is a wire and, usually, the subnet 192.168.<net>.0/24 on it. `201@3` is the address of node 201 on net
3, and `router@1` is every router on net 1.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from tasks.definitions.artifact_sources import Definition, Name
from tasks.definitions.roles import FIRST, LAST, RANGES
from tasks.definitions.schema import Mebibytes, NodeKind

Net = Annotated[int, Field(ge=1, le=99)]
Number = Annotated[int, Field(ge=1, le=LAST)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def _link(value: Any) -> Any:
    """A bare net number is a link to it."""
    return {"net": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _word(pattern: str, what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"'{value}' is {what}")
        return value

    return AfterValidator(check)


Numbers = Annotated[
    str,
    _word(
        r"vm|router|tester|[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*",
        "neither a role (vm, router, tester) nor numbers such as 201, 10-19 or 201,203",
    ),
]
Address = Annotated[
    str,
    _word(r"none|[0-9]+|[0-9]+@[0-9]+", "neither a net, nor an address such as 5@2, nor 'none'"),
]
Target = Annotated[
    str,
    _word(
        r"default|[0-9]+|([0-9]+|vm|router|tester)@[0-9]+",
        "neither 'default', nor a net, nor addresses such as 5@2 or vm@2",
    ),
]
Hop = Annotated[str, _word(r"([0-9]+|router|same)@[0-9]+", "no next hop; examples are 201@1 and router@1")]


class Link(Definition):
    """An interface of a node: eth1 is the first link, eth2 the second; a bare number is `net`."""

    net: Net  # the wire
    # The subnet, if it is not that of the wire; `none`: no address; `5@2`: the host part too.
    address: Address | None = None
    template: Variable | None = None  # of guests; if set, as 169.254.0.0/20/24, it gives an address more

    @property
    def subnet(self) -> int | None:
        """The net whose subnet the interface is in; None if it has no address."""
        text = str(self.net) if self.address is None else self.address
        return None if text == "none" else int(text.rpartition("@")[2])

    @property
    def host(self) -> int | None:
        """The last part of the address; None: the node's number."""
        return int(self.address.partition("@")[0]) if self.address and "@" in self.address else None


class Bridge(Definition):
    """A bridge inside a node."""

    links: Annotated[tuple[Net, ...], Field(min_length=2, max_length=2, strict=False)]  # nets it joins
    address: Net  # the net in whose subnet the bridge is


class Route(Definition):
    """A route, in both families; several next hops, or `router@NET`, make it ECMP."""

    to: Target  # default, a net, an address (`5@4`) or an address of every node of a role (`vm@4`)
    via: Annotated[tuple[Hop, ...], Field(strict=False)] = ()  # `201@1`, `router@1`; `same@1` for `vm@4`
    direct: Net | None = None  # instead of `via`: everybody there is a neighbour on this net
    bound_to: Net | None = None  # only for sockets bound to the interface on this net
    when: Variable | None = None  # only where this variable of guests is `yes`

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.via) == (self.direct is not None):
            raise ValueError("exactly one of 'via' and 'direct' is needed")
        every = self.to.partition("@")[0] in RANGES
        if every != (bool(self.via) and self.via[0].startswith("same@")):
            raise ValueError(
                "'same@NET' and a 'to' of a whole role go together, as in {to: vm@4, via: [same@1]}"
            )
        if every and len(self.via) > 1:
            raise ValueError("a 'to' of a whole role takes one 'via'")
        if self.bound_to is not None and (every or self.direct is not None or self.when):
            raise ValueError("beside 'bound_to' a route has only 'to' and 'via'; 'to' is not a whole role")
        return self


class Group(Definition):
    """Nodes that are set up alike."""

    nodes: Numbers  # a role, or numbers: 201, 10-19, 201,203; the first group that has a number counts
    links: Annotated[tuple[Annotated[Link, BeforeValidator(_link)], ...], Field(strict=False)] = ()
    bridges: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,14}$")], Bridge] = {}
    forward: bool = False  # forwards packets
    uplink: bool = False  # IPv4 default route to the host, on net 0
    # Packets from these subnets leave on eth0 with the node's own address.
    nat: Annotated[tuple[Net, ...], Field(strict=False)] = ()
    routes: Annotated[tuple[Route, ...], Field(strict=False)] = ()
    mem: Annotated[Mebibytes, Field(ge=32, le=65536)] | None = None  # MiB
    smp: Annotated[int, Field(ge=1, le=8)] | None = None
    node: NodeKind | None = None  # virtual machines or containers

    @property
    def role(self) -> str | None:
        """The role whose nodes the group has, less those of earlier groups; None for single numbers."""
        return self.nodes if self.nodes in RANGES else None

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The numbers, as first and last."""
        if self.nodes in RANGES:
            return (RANGES[self.nodes],)
        pairs = [re.split("-", part) for part in self.nodes.split(",")]
        return tuple((int(pair[0]), int(pair[-1])) for pair in pairs)

    def has(self, number: int) -> bool:
        """Whether the node of this number is in one of the ranges."""
        return any(first <= number <= last for first, last in self.ranges)


class Counts(Definition):
    """How many nodes of each role, where nothing else says so."""

    nvm: Annotated[int, Field(ge=0, le=200)] | None = None
    nrouters: Annotated[int, Field(ge=0, le=20)] | None = None
    ntesters: Annotated[int, Field(ge=0, le=20)] | None = None


class Promise(Definition):
    """Every node of one group reaches every node of another, and is answered."""

    source: str = Field(alias="from")  # a group
    to: str  # a group
    nets: Annotated[
        tuple[Net, ...], Field(strict=False)
    ] = ()  # the addresses; default: the first that it has
    when: Variable | None = None  # only where this variable of guests is set


class Topology(Definition):
    """topology/<name>.yaml in an overlay."""

    name: Name
    directory: Path  # of the overlay
    summary: str
    nets: dict[Net, str]  # every net but net 0, and what it is for
    groups: dict[Name, Group]
    counts: Counts = Counts()
    mem: Annotated[Mebibytes, Field(ge=32, le=65536)] | None = None  # MiB of a node whose group does not say
    smp: Annotated[int, Field(ge=1, le=8)] | None = None
    node: NodeKind | None = None  # virtual machines or containers
    # Nodes beyond the counts that it has a place for; `xc scaleout` starts them.
    scaleout: Annotated[tuple[Number, ...], Field(strict=False)] = ()
    variables: dict[Variable, str] = {}  # variables of guests that it uses, each with an example
    reachable: Annotated[tuple[Promise, ...], Field(strict=False)] = ()

    @property
    def label(self) -> str:
        """The file, for messages."""
        return f"{self.directory.parent.name}/{self.directory.name}/topology/{self.name}.yaml"

    @property
    def node_counts(self) -> dict[str, int]:
        """How many nodes it asks for: its own counts, and 0 of a role whose first node has no group."""
        own = self.counts.model_dump(exclude_none=True)
        keys = {"vm": "nvm", "router": "nrouters", "tester": "ntesters"}
        return {**{key: 0 for role, key in keys.items() if not self.group_of(FIRST[role])}, **own}

    def group_of(self, number: int) -> str | None:
        """The group of a node; None when the topology has no place for it."""
        return next((name for name, group in self.groups.items() if group.has(number)), None)
