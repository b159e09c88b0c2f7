"""Named network namespaces, `${USER}_xclusterN`, as upstream's: made once by root, to run clusters in.

    host                                          namespace
    xclusterN  base+2N+1, prefix + the same  <->  hostN  base+2N, prefix + the same; the default route
                                                  xcbr0 xcbr1 xcbr2

What guests send out on net 0 has the namespace's address out of hostN, and the host's own beyond it. This
makes command lines; whoever runs them is root.
"""

import ipaddress
from dataclasses import dataclass

from tasks.base.errors import UsageError
from tasks.definitions import addresses

NETS = (0, 1, 2)  # that have a bridge from the beginning


@dataclass(frozen=True)
class NumberedNamespace:
    """A namespace, by its number, and its addresses."""

    number: int
    user: str
    host: str
    own: str
    host6: str
    own6: str

    @property
    def name(self) -> str:
        """The namespace."""
        return f"{self.user}_xcluster{self.number}"

    @property
    def outer(self) -> str:
        """The link on the host; its firewall table has the same name."""
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
    try:
        network = ipaddress.IPv4Network(base)
        host, own = network[2 * number + 1], network[2 * number]
    except (ValueError, IndexError) as error:
        raise UsageError(
            f"--ipv4-base={base}: no network with addresses for number {number}: {error}"
        ) from None
    try:
        host6, own6 = (str(ipaddress.IPv6Address(f"{prefix6}{address}")) for address in (host, own))
    except ValueError as error:
        raise UsageError(f"--ipv6-prefix={prefix6}: {error}") from None
    return NumberedNamespace(number, user, str(host), str(own), host6, own6)


def add(space: NumberedNamespace) -> list[list[str]]:
    """The commands that make it, but for what is in `rules` and `inner_rules` and the bridges."""
    inside = ["ip", "-netns", space.name]
    exec_ = ["ip", "netns", "exec", space.name]
    link = ["link", "add", space.outer, "type", "veth", "peer", "name", space.inner, "netns", space.name]
    on_host, in_space = ["dev", space.outer], ["dev", space.inner]
    return [
        ["ip", "netns", "add", space.name],
        ["ip", *link],
        [*inside, "link", "set", "lo", "up"],
        ["ip", "link", "set", space.outer, "up"],
        [*inside, "link", "set", space.inner, "up"],
        ["ip", "address", "add", space.host, "peer", f"{space.own}/32", *on_host],
        [*inside, "address", "add", space.own, "peer", f"{space.host}/32", *in_space],
        ["ip", "-6", "address", "add", space.host6, "peer", f"{space.own6}/128", *on_host, "nodad"],
        [*inside, "-6", "address", "add", space.own6, "peer", f"{space.host6}/128", *in_space, "nodad"],
        [*inside, "route", "add", "default", "via", space.host, *in_space],
        [*inside, "-6", "route", "add", "default", "via", space.host6, *in_space],
        *([*where, "sysctl", "-qw", *FORWARDING] for where in ([], exec_)),
    ]


FORWARDING = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


def remove(space: NumberedNamespace) -> list[list[str]]:
    """The commands that remove it; the link goes with the namespace, but later."""
    return [
        ["ip", "link", "del", space.outer],
        ["nft", "delete", "table", "inet", space.outer],
        ["ip", "netns", "del", space.name],
    ]


def rules(space: NumberedNamespace) -> str:
    """For nft on the host: what comes out of the namespace goes on with the host's address."""
    return _masquerade(space.outer, f'oifname != "{space.outer}"', f"{space.own}/32", f"{space.own6}/128")


def inner_rules(space: NumberedNamespace, prefix: str) -> str:
    """For nft in the namespace: what guests send out has the namespace's address."""
    net0 = str(ipaddress.ip_network(addresses.subnet6(prefix, 0)))
    return _masquerade("xcluster", f'oifname "{space.inner}"', addresses.subnet4(0), net0)


def _masquerade(table: str, out: str, sources: str, sources6: str) -> str:
    return (
        f"table inet {table} {{\n chain out {{\n  type nat hook postrouting priority srcnat\n"
        f"  {out} ip saddr {sources} masquerade\n  {out} ip6 saddr {sources6} masquerade\n }}\n}}\n"
    )
