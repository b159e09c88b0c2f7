"""Bridges and taps of the network namespace this runs in, in a few batches of netlink requests.

    python links.py PLAN.json

The plan: {"bridges": [[NAME, MAC, [ADDRESS/BITS, ...], MTU], ...], "taps": [[NAME, BRIDGE, MTU], ...],
"gone": [NAME, ...]}. What is there already is changed into what the plan says, but a bridge that somebody
else made keeps all but a smaller MTU. A bridge of ours has the alias `xcluster` unless the plan says `keep`;
those with it and without a port are removed when something goes. Runs by itself.
"""

import errno
import fcntl
import ipaddress
import json
import os
import socket
import struct
import sys
import types
from collections.abc import Iterable, Iterator
from importlib import util
from pathlib import Path
from typing import Any


def _only_parts() -> None:
    """Let parts of pyroute2 be imported without all of it, which takes longer than all that we do here."""
    spec = util.find_spec("pyroute2")
    if spec and spec.submodule_search_locations:
        package = types.ModuleType("pyroute2")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["pyroute2"] = package


if __name__ == "__main__":
    _only_parts()

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: E402
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: E402

NEWLINK, DELLINK, GETLINK, NEWADDR = 16, 17, 18, 20  # rtnetlink(7)
REQUEST, ACK, DUMP, CREATE, REPLACE = 0x1, 0x4, 0x300, 0x400, 0x100
ERROR, DONE = 2, 3
UP = 1  # IFF_UP
NODAD = 0x02  # IFA_F_NODAD: nobody else has these addresses
NO_ADDRESS = 1  # IN6_ADDR_GEN_MODE_NONE
LLDP = 0x4000  # bit 14 of 01:80:c2:00:00:0X, which bridges keep to themselves otherwise
TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB
TAP, NO_PI, VNET_HDR = 0x0002, 0x1000, 0x4000
ALIAS = "xcluster"
AT_ONCE = 100  # requests; their answers have to fit into the buffer of a socket


class LinkSocket:
    """A netlink socket that sends requests in batches."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.socket.bind((0, 0))

    def batch(self, requests: Iterable[tuple[str, Any]]) -> None:
        """Send all; raise OSError with the name for the first that fails."""
        waiting = list(requests)
        while waiting:
            some, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            data = b""
            for number, (_, message) in enumerate(some):
                message["header"]["sequence_number"] = number
                message.encode()
                data += bytes(message.data)
            self.socket.send(data)
            left = len(some)
            while left:
                for kind, number, payload in self._answers():
                    code = struct.unpack_from("i", payload)[0] if kind == ERROR else 0
                    if code:
                        raise OSError(-code, os.strerror(-code), some[number][0])
                    left -= 1

    def all(self) -> list[Any]:
        """Every link of this namespace."""
        message = request(ifinfmsg(), GETLINK, REQUEST | DUMP)
        message.encode()
        self.socket.send(bytes(message.data))
        links: list[Any] = []
        while True:
            for kind, _, data in self._answers(whole=True):
                if kind == DONE:
                    return links
                if kind == ERROR:
                    raise OSError(errno.EIO, "the links cannot be listed")
                link = ifinfmsg(data)
                link.decode()
                links.append(link)

    def _answers(self, *, whole: bool = False) -> Iterator[tuple[int, int, bytes]]:
        data = self.socket.recv(1 << 18)
        while data:
            length, kind, _, number, _ = struct.unpack_from("IHHII", data)
            yield kind, number, data[0 if whole else 16 : length]
            data = data[(length + 3) & ~3 :]


def request(message: Any, kind: int, flags: int, *attributes: tuple[str, Any]) -> Any:
    """A netlink message of this type."""
    message["header"] = {"type": kind, "flags": flags}
    message["attrs"] = list(attributes)
    return message


def bridge(name: str, mac: str) -> Any:
    """Make a bridge, without the port delays of spanning trees."""
    options = {"attrs": [["IFLA_BR_GROUP_FWD_MASK", LLDP]]}
    kind = {"attrs": [["IFLA_INFO_KIND", "bridge"], ["IFLA_INFO_DATA", options]]}
    attributes = ("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), ("IFLA_LINKINFO", kind)
    return request(_up(), NEWLINK, REQUEST | ACK | CREATE, *attributes)


def change(name: str, *attributes: tuple[str, Any]) -> Any:
    """Change a link, and have it up."""
    return request(_up(), NEWLINK, REQUEST | ACK, ("IFLA_IFNAME", name), *attributes)


def port(name: str, mtu: int, master: int) -> Any:
    """Make a tap a port of a bridge. It has no address itself: the host would speak on it."""
    silent = {"attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", NO_ADDRESS]]}]]}
    silence = [("IFLA_AF_SPEC", silent)] if has_ipv6() else []
    return change(name, ("IFLA_MTU", mtu), ("IFLA_MASTER", master), *silence)


def has_ipv6() -> bool:
    """Whether links of this namespace can have addresses of IPv6. Without, nodes still have theirs."""
    try:
        return Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").read_text().strip() == "0"
    except OSError:  # not in this kernel
        return False


def address(index: int, text: str) -> Any:
    """Give a link an address."""
    interface = ipaddress.ip_interface(text)
    message = request(
        ifaddrmsg(), NEWADDR, REQUEST | ACK | CREATE | REPLACE,
        ("IFA_LOCAL", str(interface.ip)), ("IFA_ADDRESS", str(interface.ip)), ("IFA_FLAGS", NODAD),
    )  # fmt: skip
    message["family"] = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    message["prefixlen"] = interface.network.prefixlen
    message["index"] = index
    return message


def tap(name: str) -> None:
    """Make a tap that stays; one that is there must not be in use."""
    with open("/dev/net/tun", "r+b", buffering=0) as device:
        try:
            fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP | NO_PI | VNET_HDR))
            fcntl.ioctl(device, TUNSETPERSIST, 1)
        except OSError as error:
            error.filename = name
            raise


def make(plan: dict[str, Any]) -> None:
    """Make what the plan says. Raises OSError with the name of what fails."""
    link = LinkSocket()
    there = {each.get_attr("IFLA_IFNAME"): each for each in link.all()}
    for name, _, _ in plan.get("taps", ()):
        tap(name)
    link.batch(_bridges(plan, there))
    index = {name: number for number, name in socket.if_nameindex()}
    v6 = has_ipv6()
    link.batch(
        (name, address(index[name], text))
        for name, _, texts, _ in plan.get("bridges", ())
        for text in texts
        if ":" not in text or v6
        if name not in there or there[name].get_attr("IFLA_IFALIAS") == ALIAS
    )
    link.batch((name, port(name, mtu, index[master])) for name, master, mtu in plan.get("taps", ()))
    if plan.get("gone") is not None:
        remove(link, plan["gone"])


def remove(link: LinkSocket, names: list[str]) -> None:
    """Remove these links, then bridges of ours without a port."""
    index = {name: number for number, name in socket.if_nameindex()}
    link.batch((name, _removal(index[name])) for name in names if name in index)
    left = link.all()
    masters = {each.get_attr("IFLA_MASTER") for each in left}
    link.batch(
        (str(each.get_attr("IFLA_IFNAME")), _removal(each["index"]))
        for each in left
        if each.get_attr("IFLA_IFALIAS") == ALIAS and each["index"] not in masters
    )


def _bridges(plan: dict[str, Any], there: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "lo", change("lo")
    for name, mac, _, mtu in plan.get("bridges", ()):
        link = there.get(name)
        if link is None or link.get_attr("IFLA_IFALIAS") == ALIAS:
            yield name, bridge(name, mac)
        if link is None and not plan.get("keep"):  # it takes no alias while it is made
            yield name, change(name, ("IFLA_IFALIAS", ALIAS))
        if link is None or link.get_attr("IFLA_MTU") < mtu:  # from now on taps do not change it
            yield name, change(name, ("IFLA_MTU", mtu))


def _up() -> Any:
    message = ifinfmsg()
    message["flags"] = message["change"] = UP
    return message


def _removal(index: int) -> Any:
    message = request(ifinfmsg(), DELLINK, REQUEST | ACK)
    message["index"] = index
    return message


def main(path: Path) -> int:
    """Do what the plan in this file says; 1 when that fails, after a line that says why."""
    try:
        make(json.loads(path.read_text()))
    except OSError as error:
        hint = ", by another cluster in this namespace?" if error.errno == errno.EBUSY else ""
        print(f"{error.filename or 'netlink'}: {error.strerror}{hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
