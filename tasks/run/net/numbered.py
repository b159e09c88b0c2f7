"""Named network namespaces, `${USER}_xclusterN`, as upstream's: made once by root, to run clusters in.

    host                                          namespace
    xclusterN  base+2N+1, prefix + the same  <->  hostN  base+2N, prefix + the same; the default route
                                                  xcbr0 xcbr1 xcbr2

What guests send out on net 0 has the namespace's address out of hostN, and the host's own beyond it. Or
xclusterN is a port of docker's bridge, hostN has an address of docker's network, and docker's rules count.
This makes command lines; whoever runs them is root.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.base.errors import UsageError
from tasks.definitions import addresses
from tasks.run.net.masquerade import Masquerade

NETS = (0, 1, 2)  # that have a bridge from the beginning
DOCKER = "docker0"
AFTER_DOCKER = 50  # docker gives addresses from the first on


@dataclass(frozen=True)
class NumberedNamespace:
    """A namespace, by its number, and its addresses."""

    number: int
    user: str
    host: str
    own: str
    host6: str
    own6: str
    docker: bool = False  # then `own` and `own6` have the length of the network, or are empty

    @property
    def name(self) -> str:
        """The namespace."""
        return f"{self.user}_xcluster{self.number}"

    @property
    def outer(self) -> str:
        """The link on the host; its rules have the same name."""
        return f"xcluster{self.number}"

    @property
    def inner(self) -> str:
        """The link in the namespace."""
        return f"host{self.number}"


def named(word: str, user: str, base: str, prefix6: str) -> NumberedNamespace:
    """Namespace number `word`. UsageError for what is no number, no network or no prefix, or does not fit."""
    if not word.isdecimal() or not 0 < int(word) < 1000:
        raise UsageError(f"a namespace has a number from 1 to 999, not '{word}'")
    number = int(word)
    network, _ = networks(base, prefix6)
    try:
        host, own = network[2 * number + 1], network[2 * number]
    except IndexError as error:
        raise UsageError(f"--ipv4-base={base}: no addresses for number {number}: {error}") from None
    host6, own6 = (str(ipaddress.IPv6Address(f"{prefix6}{address}")) for address in (host, own))
    return NumberedNamespace(number, user, str(host), str(own), host6, own6)


def beside_docker(space: NumberedNamespace, there: Sequence[str]) -> NumberedNamespace:
    """The same namespace at docker's bridge, which has the addresses `there` (10.0.0.1/16, fd00::1/64).

    Its addresses are 50+N after those of the bridge. UsageError when docker's network has no such address.
    """
    own = {4: "", 6: ""}
    host = {4: "", 6: ""}
    for each in map(ipaddress.ip_interface, there):
        if each.is_link_local or own[each.version]:
            continue
        address = each.ip + AFTER_DOCKER + space.number
        if address not in each.network or address + 1 not in each.network:
            raise UsageError(f"docker's network {each.network} has no address for number {space.number}")
        own[each.version], host[each.version] = f"{address}/{each.network.prefixlen}", str(each.ip)
    return replace(space, host=host[4], own=own[4], host6=host[6], own6=own[6], docker=True)


def add(space: NumberedNamespace) -> list[list[str]]:
    """The commands on the host that make it; `setup` and `outer_rules` are the rest."""
    end = ["peer", "name", space.inner, "netns", space.name]
    docker = ["master", DOCKER] if space.docker else []
    far = [f"{space.own}/32"], [f"{space.own6}/128"]
    commands = [
        ["ip", "netns", "add", space.name],
        ["ip", "link", "add", space.outer, *docker, "type", "veth", *end],
        ["ip", "link", "set", space.outer, "up"],
    ]
    if not space.docker:
        on = ["dev", space.outer]
        commands += [
            ["ip", "address", "add", space.host, "peer", *far[0], *on],
            ["ip", "-6", "address", "add", space.host6, "peer", *far[1], *on, "nodad"],
        ]
    return commands


def setup(space: NumberedNamespace) -> list[list[str]]:
    """The commands in the namespace, but for `inner_rules` and the bridges; once more they change nothing."""
    on = ["dev", space.inner]
    commands = [["ip", "link", "set", "lo", "up"], ["ip", "link", "set", space.inner, "up"]]
    for version, own, host in (("-4", space.own, space.host), ("-6", space.own6, space.host6)):
        if not own:
            continue
        kept = ["nodad"] if version == "-6" else []
        peer = [] if "/" in own else ["peer", host]
        commands.append(["ip", version, "address", "replace", own, *peer, *on, *kept])
        commands.append(["ip", version, "route", "replace", "default", "via", host, *on])
    return [*commands, FORWARDING]


FORWARDING = ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]


def remove(space: NumberedNamespace) -> list[list[str]]:
    """The commands that remove it; the link goes with the namespace, but later."""
    return [["ip", "link", "del", space.outer], ["ip", "netns", "del", space.name]]


def outer_rules(name: str, base: str, prefix6: str) -> Masquerade:
    """On the host: what comes out of namespaces goes on with its address. UsageError for no network."""
    network, network6 = networks(base, prefix6)
    return Masquerade(name, (network, network6), forward=True)


def inner_rules(space: NumberedNamespace, prefix: str) -> Masquerade:
    """In the namespace: what guests send out on net 0 has the namespace's address."""
    nets = addresses.subnet4(0), addresses.subnet6(prefix, 0)
    first, second = (ipaddress.ip_network(net) for net in nets)
    return Masquerade(space.outer, (first, second), out=space.inner)


def networks(base: str, prefix6: str) -> tuple[ipaddress.IPv4Network, ipaddress.IPv6Network]:
    """The networks of the links: --ipv4-base, and the same behind the prefix. UsageError for others."""
    try:
        network = ipaddress.IPv4Network(base)
    except ValueError as error:
        raise UsageError(f"--ipv4-base={base}: {error}") from None
    try:
        six = f"{prefix6}{network.network_address}/{96 + network.prefixlen}"
        return network, ipaddress.IPv6Network(six)
    except ValueError as error:
        raise UsageError(f"--ipv6-prefix={prefix6}: {error}") from None
