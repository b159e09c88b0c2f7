"""Addresses on the nets of a cluster. Each net is a subnet, and a node has its number in every one.

IPv4  192.168.<net>.<number>/24
IPv6  <prefix>:192.168.<net>.<number>/120, whose last 32 bits are the IPv4 address
"""

HOST = 250  # the host's number on every net
QEMU_DNS = 249  # on net 0, where it is QEMU's user network: the address of QEMU's own DNS server
BITS4, BITS6 = 24, 120  # the length of a subnet's prefix
UPLINK_HOST = "10.0.2.2"  # the host, seen from a cluster's own namespace (slirp4netns, pasta)
UPLINK_DNS = "10.0.2.3"  # answers there, from the host's resolvers


def v4(net: int, number: int) -> str:
    """The IPv4 address of a node, or of HOST, on a net."""
    return f"192.168.{net}.{number}"


def v6(prefix: str, net: int, number: int) -> str:
    """The IPv6 address of a node, or of HOST, on a net; `prefix` is that of the cluster, as `fd00:`."""
    return f"{prefix}:{v4(net, number)}"


def subnet4(net: int) -> str:
    """The IPv4 subnet of a net."""
    return f"{v4(net, 0)}/{BITS4}"


def subnet6(prefix: str, net: int) -> str:
    """The IPv6 subnet of a net."""
    return f"{v6(prefix, net, 0)}/{BITS6}"
