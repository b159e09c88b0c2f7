"""Names for guests: a DNS server on the host that knows all nodes, as long as a cluster runs.

Guests know it as 192.168.0.250. In user space that is the host's loopback, so all such clusters of a
workspace share one server; a cluster with bridges has that address, and a server, for itself. A server is
needed while a cluster has a running node, or after `dns start`; this is looked up each time.
"""

import contextlib
import socket
from pathlib import Path

from tasks.base import locks, progress
from tasks.base.errors import UserError
from tasks.base.paths import ClusterDir, Workspace
from tasks.base.records import Damaged
from tasks.definitions import addresses
from tasks.definitions.addresses import v4, v6
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.project.project import ROOT
from tasks.run.net import dns_place, dns_server, fakenet_server, host_support, net_state
from tasks.run.running import processes
from tasks.run.running.cluster import Running

DOMAIN = "xcluster"
HOST = v4(0, addresses.HOST)
HINT = "--dns=off, or `xc dns start` when that is settled"
MISSING = {
    "auto": "neither coredns nor dnsmasq is here: apt-get install --no-install-recommends dnsmasq-base",
    "coredns": "there is no coredns in $GOPATH/bin, the workspace or PATH: `xc artifact:coredns` makes one",
    "dnsmasq": "dnsmasq is not here: apt-get install --no-install-recommends dnsmasq-base",
}


def preflight(settings: Settings, workspace: Workspace) -> list[str]:
    """What keeps this cluster from having DNS, if it insists on it; and what is wrong with its own names."""
    if settings.dns == "off":
        return []
    _, problems = _static(settings)
    if settings.dns == "on" or settings.fakenet:
        choice = settings.dns_server
        why = obstacle(workspace, choice) if settings.net == "userspace" else no_program(workspace, choice)
        without = "--fakenet=no" if settings.fakenet else "--dns=off"
        problems += [f"{why}; {without} starts without"] if why else []
    return problems


def refresh(workspace: Workspace, *, shared_matters: bool = True) -> None:
    """Run the servers with the names of all running clusters, or end them when no cluster needs them.

    Raises UserError when one cannot run; for the shared one that is a warning if it does not matter.
    """
    place = place_here(workspace)
    if not (
        workspace.run.is_dir() and (place.folder.exists() or users_here(workspace) or place.kept.exists())
    ):
        processes.end(ClusterDir(place.folder))  # a server whose files were removed
        return
    with locks.locked(workspace.run / ".dns.lock"):
        if not place.state.exists():
            processes.end(ClusterDir(place.folder))
        users = users_here(workspace)
        for other in dns_place.others(workspace.run, dns_place.name_here()):
            if not other.kept.exists() and not any(home_of(each) == other.folder for each in users):
                dns_server.down(other)
        own = {each.name: inner for each in users if (inner := own_server(each))}
        for each in users:
            if each.name in own:
                dns_server.up(own[each.name], _program(workspace, [each]), zone([each]))
        shared = [each for each in users if each.name not in own and home_of(each) == place.folder]
        try:
            _share(workspace, shared)
        except UserError as error:
            if shared_matters:
                raise
            progress.say(f"warning: other clusters: {str(error).splitlines()[0]}")


def _share(workspace: Workspace, users: list[Running]) -> None:
    """Run the server that these clusters share, or end it when there are none."""
    place = place_here(workspace)
    if not users and not place.kept.exists():
        dns_server.down(place)
        return
    why = obstacle(workspace, choice_of(users, place))
    if why:
        raise UserError(f"no DNS server: {why}", HINT)
    dns_server.up(place, _program(workspace, users), zone(users))


def choice_of(users: list[Running], place: dns_place.DnsServer) -> str:
    """The program that the first cluster asks for that asks for one, else `dns start`."""
    choices: list[str] = [each.settings.dns_server for each in users]
    choices += [place.kept.read_text()] if place.kept.exists() else []
    return next((choice for choice in choices if choice not in ("", "auto")), "auto")


def _program(workspace: Workspace, users: list[Running]) -> str:
    choice = choice_of(users, place_here(workspace))
    server = dns_server.program(workspace.root / "bin", choice)
    if server is None:
        raise UserError(f"no DNS server: {MISSING[choice]}", HINT)
    return server


def own_server(cluster: Running) -> dns_place.DnsServer | None:
    """Where the server of a cluster runs that has it for itself; None: it shares one."""
    net, directory = cluster.settings.net, cluster.directory
    if net == "userspace" or (net == "custom" and not _is_ours(HOST)):
        return None
    place = net_state.intact_place(directory)
    if net == "bridge" and place and place.own:
        prefix = tuple(cluster.backend.inside(directory))
        resolvers = (addresses.UPLINK_DNS,)
        return dns_place.DnsServer(
            directory.dns, dns_place.EVERYWHERE, prefix=prefix, resolvers=resolvers, owner=directory.root
        )
    if place and host_support.name_of(place.ns or 0):
        return None
    six = v6(cluster.settings.prefix, 0, addresses.HOST)
    listen = (HOST, six) if _is_ours(six) else (HOST,)
    return dns_place.DnsServer(directory.dns, listen, owner=directory.root)


def home_of(cluster: Running) -> Path:
    """The directory of the shared server in the network namespace of a cluster."""
    place = net_state.intact_place(cluster.directory)
    inode = place.ns if place else None
    for pid in [] if inode else cluster.alive().values():
        with contextlib.suppress(OSError):
            inode = Path(f"/proc/{pid}/ns/net").stat().st_ino
    name = host_support.name_of(inode) if inode else None
    return dns_place.shared(cluster.directory.workspace.run, name.name if name else None).folder


def _is_ours(address: str) -> bool:
    """Whether an interface has the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def refresh_if_possible(workspace: Workspace) -> None:
    """As `refresh`; what keeps the server from running is a warning."""
    try:
        refresh(workspace)
    except UserError as error:
        progress.say(f"warning: {str(error).splitlines()[0]}")


def bring_up(settings: Settings, workspace: Workspace) -> None:
    """Give a cluster whose nodes were just started its names. Raises UserError when it insists and cannot."""
    if settings.dns == "off":
        refresh_if_possible(workspace)  # it may have been started with DNS before
        return
    pairs, _ = _static(settings)  # kept with the cluster: the file may change or go
    kept = workspace.cluster(settings.name).root / "dns.hosts"
    kept.write_text("".join(f"{address} {name}\n" for address, name in pairs))
    if settings.dns == "on" or settings.fakenet:
        own = own_server(Running.get(workspace, settings.name))
        refresh(workspace, shared_matters=own is None)
    else:
        refresh_if_possible(workspace)


def zone(users: list[Running]) -> dns_server.Zone:
    """The names of these clusters' nodes, and those that users gave.

    vm-001 is the node of the cluster that was started first, vm-001.two.xcluster the one of cluster two.
    """
    pairs: list[tuple[str, str]] = []
    fake = False
    for cluster in users:
        settings, directory = cluster.settings, cluster.directory
        taken = {name for _, name in pairs}
        below = DOMAIN if settings.name == DOMAIN else f"{settings.name}.{DOMAIN}"
        for node in cluster.alive_nodes():
            short = [] if node.name in taken else [node.name]
            pairs += [
                (address, name)
                for address in addresses_of(node, settings.prefix)
                for name in (*short, f"{node.name}.{below}")
            ]
        kept = directory.root / "dns.hosts"
        pairs += dns_server.read_hosts(kept.read_text(errors="replace"), "")[0] if kept.is_file() else []
        fake = fake or directory.fakenet.is_file()
    return dns_server.Zone(tuple(dict.fromkeys(pairs)), (DOMAIN,), fakenet_server.ADDRESS if fake else None)


def addresses_of(node: Node, prefix: str) -> tuple[str, str]:
    """IPv4 and IPv6 of a node on its first net beyond net 0, where others reach it."""
    net = next((net for net in node.nets if net), 0)
    return v4(net, node.number), v6(prefix, net, node.number)


def place_here(workspace: Workspace) -> dns_place.DnsServer:
    """The server that clusters share where we are."""
    return dns_place.shared(workspace.run, dns_place.name_here())


def no_program(workspace: Workspace, choice: str) -> str | None:
    """Why this program cannot be the server; None: it is there."""
    return None if dns_server.program(workspace.root / "bin", choice) else MISSING[choice]


def obstacle(workspace: Workspace, choice: str = "auto") -> str | None:
    """Why there can be no shared server now."""
    if missing := no_program(workspace, choice):
        return missing
    place = place_here(workspace)
    owner = dns_server.taken(place.port, dns_server.running(place))
    address = next(iter(place.listen), "this network")
    return f"port {place.port} of {address} is in use by {owner}" if owner else None


def users_here(workspace: Workspace) -> list[Running]:
    """The clusters that run and want DNS, the oldest first; a damaged one gets none."""
    users = []
    for cluster in Running.every(workspace):
        with contextlib.suppress(Damaged):
            if cluster.settings.dns != "off" and cluster.alive_nodes():
                users.append(cluster)
    return sorted(users, key=lambda each: (each.record.started, each.name))


def _static(settings: Settings) -> tuple[list[tuple[str, str]], list[str]]:
    """The names in the file of `dns_hosts`, looked for where we are, then in the checkout."""
    if not settings.dns_hosts:
        return [], []
    path = Path(settings.dns_hosts).expanduser()
    path = path if path.is_file() else ROOT / path
    try:
        return dns_server.read_hosts(path.read_text(), settings.dns_hosts)
    except (OSError, UnicodeDecodeError) as error:
        return [], [f"dns_hosts: cannot read {settings.dns_hosts}: {getattr(error, 'strerror', 'no text')}"]
