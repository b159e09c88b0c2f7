"""Which ports of the host lead to the nodes of a cluster: its own while it runs, else a free range."""

from collections.abc import Collection
from dataclasses import replace

from tasks.base.paths import Workspace
from tasks.base.records import Damaged
from tasks.definitions import kubernetes
from tasks.definitions.settings import Settings
from tasks.run.net import forwards, listening, selection
from tasks.run.net.protocol import Ports
from tasks.run.running.cluster import Running

SSH = 22
SHIFT = 1000  # between the forwarded ports of two clusters
MOST_PORT = 60000


def choose(settings: Settings, workspace: Workspace) -> Ports:
    """The ports of the running cluster, or else those of the settings.

    A cluster by another name than the usual one moves on to a range that nobody uses.
    """
    every = _of_all(workspace)
    own = every.pop(settings.name, None)
    api = _api(settings, own.api if own else None, {ports.api for ports in every.values()})
    if own:
        return _shifted(settings, own.ssh - settings.ssh_base, api)
    taken = {ports.ssh for ports in every.values()}
    backend, shift = selection.of(settings) if moves(settings) else None, 0
    while settings.ssh_base + shift + SHIFT < MOST_PORT:
        ports = _shifted(settings, shift, api)
        if ports.ssh not in taken and not (backend and backend.preflight(settings.nodes(), ports)):
            return ports
        shift += SHIFT
    return _shifted(settings, 0, api)


def moves(settings: Settings) -> bool:
    """Whether the cluster may have other ports than those of the settings, where these are taken."""
    defaults = Settings()
    return settings.name != defaults.name and settings.ssh_base == defaults.ssh_base


def moved(settings: Settings, workspace: Workspace, own: Ports) -> list[str]:
    """One sentence for each port that is not the one of the settings: where it is, and who has that."""
    others = {name: ports for name, ports in _of_all(workspace).items() if name != settings.name}
    lines = []
    if own.ssh != settings.ssh_base:
        clusters = [name for name, ports in others.items() if ports.ssh == settings.ssh_base]
        forwards_of = replace(own, ssh=settings.ssh_base, api=None)
        of_nodes = [each.host_port for node in settings.nodes() for each in forwards_of.of(node.number)]
        who = _holder(clusters, of_nodes)
        telnet = f", telnet at {own.telnet}+N" if own.telnet else ""
        lines.append(
            f"ports have moved: ssh to node N is at 127.0.0.1:{own.ssh}+N{telnet}, "
            f"since {who} {settings.ssh_base}+N"
        )
    if own.api and own.api != settings.api_base:
        clusters = [name for name, ports in others.items() if ports.api == settings.api_base]
        who = _holder(clusters, [settings.api_base])
        lines.append(
            f"ports have moved: the Kubernetes API is at 127.0.0.1:{own.api}, since {who} {settings.api_base}"
        )
    return lines


def _of_all(workspace: Workspace) -> dict[str, Ports]:
    """The ports of each running cluster, by its name."""
    return {each.name: ports for each in Running.every(workspace) if (ports := recorded(each))}


def _holder(clusters: Collection[str], numbers: Collection[int]) -> str:
    """Who has ports, with the verb that stands before them."""
    if clusters:
        return f"cluster '{min(clusters)}' has"
    owners = (listening.owner(number) for number in numbers)
    return f"{next(filter(None, owners), 'something else')} {'has' if any(numbers) else 'had'} a port of"


def recorded(running: Running) -> Ports | None:
    """The ports of a cluster; None for a damaged one, whose ports are found taken when they are tried."""
    try:
        return running.ports
    except Damaged:
        return None


def of_api(running: Running) -> tuple[str, int] | None:
    """Where the Kubernetes API of a cluster is reached from here; None for one without. Raises Damaged."""
    ports = running.ports
    if ports.api is None:
        return None
    host, port = running.address(kubernetes.CONTROL)
    return (host, ports.api) if port != SSH else (host, kubernetes.PORT)  # the node itself is reached


def _api(settings: Settings, own: int | None, taken: Collection[int | None]) -> int | None:
    """The port that the running cluster of this name has, else the first that is free."""
    if not settings.kubernetes:
        return None
    tried = range(settings.api_base, min(settings.api_base + SHIFT, MOST_PORT + 1))
    free = (port for port in tried if port not in taken and forwards.is_free(port))
    return own or next(free, settings.api_base)


def _shifted(settings: Settings, shift: int, api: int | None) -> Ports:
    telnet = settings.telnet_base + shift if settings.telnet else None
    return Ports(settings.ssh_base + shift, telnet, api)
