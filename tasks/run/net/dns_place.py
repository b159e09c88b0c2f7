"""Where a DNS server of ours runs and listens: on the host's loopback, or in the network of clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.run.net import host_support

PORT = 10053  # guests know the server as 192.168.0.250:10053
LOOPBACK = ("127.0.0.1", "::1")
EVERYWHERE: tuple[str, ...] = ()  # every address of the network namespace, which is a cluster's


@dataclass(frozen=True)
class DnsServer:
    """Where one server runs and keeps its files."""

    folder: Path
    listen: tuple[str, ...] = LOOPBACK
    port: int = PORT
    prefix: tuple[str, ...] = ()  # words before the server's own, to run it somewhere else
    resolvers: tuple[str, ...] = ()  # the servers for other names; empty: those of /etc/resolv.conf
    owner: Path | None = None  # the directory of the cluster that has it for itself

    @property
    def state(self) -> Path:
        """The server's process, and the digest of what it was started with."""
        return self.folder / "server.json"

    @property
    def log(self) -> Path:
        """The log of the server."""
        return self.folder / "server.log"

    @property
    def kept(self) -> Path:
        """A file that is there while the server is to run without a cluster; it says which program."""
        return self.folder.with_name(f"{self.folder.name}.kept")


def shared(run: Path, name: str | None) -> DnsServer:
    """The server that clusters of the workspace share in the namespace `name`; None: one without a name.

    `run` is the directory of what runs. It listens on the loopback, but in a namespace with bridges of ours
    everywhere, as nobody else is there.
    """
    folder = run / (f".dns-{name}" if name else ".dns")
    listen = EVERYWHERE if name and host_support.here() else usable()
    return DnsServer(folder, listen, owner=folder)


def others(run: Path, name: str | None) -> list[DnsServer]:
    """The shared servers in other namespaces, as far as there are files of theirs."""
    mine = shared(run, name).folder
    folders = [path for path in sorted(run.glob(".dns*")) if path.is_dir() and path != mine]
    return [DnsServer(folder, EVERYWHERE, owner=folder) for folder in folders]


def name_here() -> str | None:
    """The name of the network namespace that we are in, if it has one."""
    path = host_support.name_of(host_support.namespace())
    return path.name if path else None


def usable(listen: Sequence[str] = LOOPBACK) -> tuple[str, ...]:
    """The addresses that this host's loopback has: a host may have no IPv6."""
    v6 = Path("/proc/net/if_inet6")
    has_v6 = v6.is_file() and " lo\n" in v6.read_text()
    return tuple(address for address in listen if ":" not in address or has_v6)
