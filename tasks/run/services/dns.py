"""Names for guests: a DNS server on the host that knows all nodes, as long as a cluster runs.

Guests know it as 192.168.0.250. In user space that is the host's loopback, so all such clusters of a
workspace share one server; a cluster with bridges has that address, and a server, for itself. Who needs one
is found out each time: the clusters with a running node, or somebody who said `dns start`.
"""

import json
import socket
import sys
from pathlib import Path
from typing import Any

from tasks.base import files, progress
from tasks.base.errors import UsageError, UserError, unknown
from tasks.base.paths import ClusterDir, NodeDir, Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.project.project import ROOT, Does, Project
from tasks.run.net import dns_server, fakenet_server, selection
from tasks.run.node import qemu

DOMAIN = "xcluster"
HOST = "192.168.0.250"
UPLINK = "10.0.2.3"  # answers in a cluster's own namespace, from the host's resolvers
HINT = "--dns=off, or `xc dns start` when that is settled"
MISSING = "neither coredns nor dnsmasq is here: apt-get install --no-install-recommends dnsmasq-base"


def preflight(settings: Settings, workspace: Workspace) -> list[str]:
    """What keeps this cluster from having DNS, if it insists on it; and what is wrong with its own names."""
    if settings.dns == "off":
        return []
    _, problems = _static(settings)
    if settings.dns == "on":
        why = _obstacle(workspace) if settings.net == "userspace" else _no_program(workspace)
        problems += [f"{why}; --dns=off starts without"] if why else []
    return problems


def refresh(workspace: Workspace, *, shared_matters: bool = True) -> None:
    """See that the servers run with the names of all running clusters, or not at all when nobody needs them.

    Raises UserError when one cannot run; for the shared one that is a warning if it does not matter.
    """
    place = _place(workspace)
    if not (workspace.run.is_dir() and (place.folder.exists() or _users(workspace) or _is_kept(workspace))):
        return
    with files.locked(workspace.run / ".dns.lock"):
        users = _users(workspace)
        own = {directory: inner for directory in users if (inner := _inner(directory))}
        shared = [directory for directory in users if directory not in own]
        server = dns_server.program(workspace.root / "bin")
        if users and not server:
            raise UserError(f"no DNS server: {MISSING}", HINT)
        for directory, inner in own.items():
            dns_server.up(inner, server or "", zone([directory]))
        try:
            _share(workspace, shared)
        except UserError as error:
            if shared_matters:
                raise
            progress.say(f"warning: other clusters: {str(error).splitlines()[0]}")


def _share(workspace: Workspace, users: list[ClusterDir]) -> None:
    """See that the server on the loopback runs for these clusters, or not at all."""
    place = _place(workspace)
    if not users and not _is_kept(workspace):
        dns_server.down(place)
        return
    why = _obstacle(workspace)
    if why:
        raise UserError(f"no DNS server: {why}", HINT)
    dns_server.up(place, dns_server.program(workspace.root / "bin") or "", zone(users))


def _inner(directory: ClusterDir) -> dns_server.Place | None:
    """Where the server of a cluster runs that has the address for itself; None: it shares the loopback's."""
    saved = files.read_json(directory.state)["settings"]
    if saved["net"] == "userspace" or (saved["net"] == "custom" and not _is_ours(HOST)):
        return None
    prefix = selection.get("bridge").inside(directory) if saved["net"] == "bridge" else []
    return dns_server.Place(
        directory.dns, (HOST,), prefix=tuple(prefix), resolvers=(UPLINK,) if prefix else ()
    )


def _is_ours(address: str) -> bool:
    """Whether an interface has the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
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
    if settings.dns == "on":
        own = _inner(workspace.cluster(settings.name))
        refresh(workspace, shared_matters=own is None)
    else:
        refresh_if_possible(workspace)


def zone(users: list[ClusterDir]) -> dns_server.Zone:
    """The names of these clusters' nodes, and those that users gave.

    vm-001 is the node of the cluster that was started first, vm-001.two.xcluster the one of cluster two.
    """
    pairs: list[tuple[str, str]] = []
    fake = False
    for directory in users:
        settings = Settings(**files.read_json(directory.state)["settings"])
        known = {name for _, name in pairs}
        below = DOMAIN if settings.name == DOMAIN else f"{settings.name}.{DOMAIN}"
        for node in nodes(directory):
            short = [] if node.name in known else [node.name]
            pairs += [
                (address, name)
                for address in addresses(node, settings.prefix)
                for name in (*short, f"{node.name}.{below}")
            ]
        kept = directory.root / "dns.hosts"
        pairs += dns_server.read_hosts(kept.read_text(), "")[0] if kept.is_file() else []
        fake = fake or directory.fakenet.is_file()
    return dns_server.Zone(tuple(dict.fromkeys(pairs)), (DOMAIN,), fakenet_server.ADDRESS if fake else None)


def addresses(node: Node, prefix: str) -> tuple[str, str]:
    """IPv4 and IPv6 of a node on its first net beyond net 0, where others reach it."""
    net = next((net for net in node.nets if net), 0)
    return f"192.168.{net}.{node.number}", f"{prefix}:192.168.{net}.{node.number}"


def _place(workspace: Workspace) -> dns_server.Place:
    return dns_server.Place(workspace.run / ".dns", dns_server.usable())


def _kept(workspace: Workspace) -> Path:
    return workspace.run / ".dns.kept"


def _is_kept(workspace: Workspace) -> bool:
    return _kept(workspace).exists()


def _no_program(workspace: Workspace) -> str | None:
    return None if dns_server.program(workspace.root / "bin") else MISSING


def _obstacle(workspace: Workspace) -> str | None:
    """Why there can be no server on the host's loopback now."""
    if missing := _no_program(workspace):
        return missing
    place = _place(workspace)
    owner = dns_server.taken(place.port, dns_server.running(place))
    return f"port {place.port} of 127.0.0.1 is in use by {owner}" if owner else None


def _users(workspace: Workspace) -> list[ClusterDir]:
    """The clusters that run and want DNS, the oldest first."""
    found = []
    for path in workspace.run.glob("*/cluster.json"):
        directory, state = ClusterDir(path.parent), files.read_json(path)
        if state.get("settings", {}).get("dns", "off") != "off" and nodes(directory):
            found.append((state["started"], path.parent.name, directory))
    return [directory for _, _, directory in sorted(found, key=lambda each: each[:2])]


def nodes(directory: ClusterDir) -> list[Node]:
    """The running nodes of a cluster."""
    own = [NodeDir(path.parent) for path in sorted(directory.root.glob("vm-*/node.json"))]
    saved = [files.read_json(each.state) for each in own if qemu.BACKEND.pid(each)]
    return [Node.model_validate(each["node"], strict=False) for each in saved]


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


def _dns(project: Project) -> None:
    action = project.words.args[0]
    if action not in ("start", "stop", "status"):
        raise UsageError(unknown("action", action, ("start", "stop", "status")), project.words.usage)
    if project.words.options.get("o", "json") != "json" or (project.words.options and action != "status"):
        raise UsageError("-o json is for 'dns status', and nothing else is", project.words.usage)
    if action == "status":
        _status(project)
        return
    workspace = project.workspace
    if action == "start":
        workspace.run.mkdir(parents=True, exist_ok=True)
        _kept(workspace).touch()
        try:
            refresh(workspace)
        except UserError:
            _kept(workspace).unlink(missing_ok=True)
            raise
        _status(project)
        return
    _kept(workspace).unlink(missing_ok=True)
    if not dns_server.down(_place(workspace)):
        progress.say("no DNS server runs")


def _status(project: Project) -> None:
    place = _place(project.workspace)
    state = files.read_json(place.state)
    pid = dns_server.running(place)
    users = _users(project.workspace)
    told: dict[str, Any] = {
        "running": pid is not None,
        "pid": pid,
        "program": state.get("program") if pid else None,
        "listen": state.get("listen", []) if pid else [],
        "port": place.port,
        "clusters": [each.root.name for each in users if not _inner(each)],
        "own": {each.root.name: dns_server.running(inner) for each in users if (inner := _inner(each))},
    }
    if project.words.options.get("o"):
        json.dump(told, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    for name, own in told["own"].items():
        state_of = f"process {own}" if own else "not running"
        sys.stdout.write(f"cluster {name} has its own, at {HOST} in its network: {state_of}\n")
    if pid:
        where = ", ".join(f"[{each}]" if ":" in each else each for each in told["listen"])
        sys.stdout.write(f"{told['program']} (process {pid}) on {where}, port {place.port}\n")
        sys.stdout.write(f"  for {', '.join(told['clusters']) or 'no cluster'}\n")
    elif not told["own"]:
        why = _obstacle(project.workspace)
        sys.stdout.write(f"not running{f': {why}' if why else ''}\n")


DOES: Does = {"dns": _dns}
