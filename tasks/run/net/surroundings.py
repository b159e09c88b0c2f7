"""This host's routes and name servers ──> warnings: what nodes will not reach because of them"""

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from tasks.definitions import addresses
from tasks.definitions.schema import Node
from tasks.run.net.host_support import BRIDGE, here

ROUTES = Path("/proc/net/route")
RESOLVERS = Path("/etc/resolv.conf")
UPLINK = ipaddress.IPv4Network(f"{addresses.UPLINK_HOST}/24", strict=False)
WAIT = 0.7  # seconds for a name server to answer
QUESTION = b"\x78\x63\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"  # who serves the root?


def warnings(nodes: Iterable[Node], net: str) -> list[str]:
    """What nodes on these nets will not reach with the backend `net`."""
    own = {
        ipaddress.IPv4Network(addresses.subnet4(number)): f"net {number} of the cluster"
        for number in sorted({number for node in nodes for number in node.nets})
    }
    if net == "bridge" and not here():
        own[UPLINK] = "the way out of the cluster's namespace"
    lines = [
        f"the host's network {theirs} ({device}) has addresses of {what} ({mine}): nodes cannot reach it"
        for theirs, device in _routes()
        for mine, what in own.items()
        if mine.overlaps(theirs)
    ]
    return lines + (_names() if net == "bridge" and not here() else [])


def _routes() -> Iterator[tuple[ipaddress.IPv4Network, str]]:
    """The networks that this host reaches, without its default routes and bridges of ours."""
    try:
        lines = ROUTES.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        device, target, _, _, _, _, _, mask = line.split()[:8]
        address, bits = (socket.inet_ntoa(struct.pack("<I", int(word, 16))) for word in (target, mask))
        if int(mask, 16) and not BRIDGE.match(device):
            yield ipaddress.IPv4Network(f"{address}/{bits}"), device


def name_servers(text: str) -> list[str]:
    """The name servers in a resolv.conf, in their order."""
    lines = [line.split() for line in text.splitlines()]
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def _names() -> list[str]:
    """Whether the uplink of a namespace, which asks the first IPv4 name server only, has one that answers."""
    try:
        servers = name_servers(RESOLVERS.read_text(errors="replace"))
    except OSError:
        return []
    usable = [server for server in servers if ":" not in server]
    advice = "nodes on bridges will not know names outside; --net=userspace asks all"
    if servers and not usable:
        return [f"{RESOLVERS} has no IPv4 name server ({', '.join(servers)}): {advice}"]
    if len(servers) > 1 and not _answers(usable[0]) and any(map(_answers, servers)):
        return [f"{usable[0]}, first in {RESOLVERS}, does not answer, others do: {advice}"]
    return []


def _answers(server: str) -> bool:
    """Whether a name server answers at all."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as link:
            link.settimeout(WAIT)
            link.connect((server, 53))
            link.send(QUESTION)
            return bool(link.recv(512))
    except OSError:
        return False
