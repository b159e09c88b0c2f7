"""The DNS server beside a cluster: which program, its configuration, starting and ending it.

CoreDNS where there is one, else dnsmasq; both with the same names and addresses. A `DnsServer` says where it
runs: the host's loopback, or with `prefix` (`nsenter ...`) and an address in a namespace of a cluster.
"""

import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.base import files, helper, proc, programs, records, unix_sockets
from tasks.run.net import listening
from tasks.run.net.dns_place import DnsServer
from tasks.run.net.net_state import DnsRecord

CACHE = 3000  # answers kept: their number (dnsmasq), seconds (CoreDNS)
OWN = "@ 60 IN SOA ns. root. 1 60 60 60 60\n@ 60 IN NS ns.\n"  # a zone file: nothing else is there
_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")


@dataclass(frozen=True)
class Zone:
    """What a server answers itself; all else is asked of the host's name servers."""

    hosts: tuple[tuple[str, str], ...] = ()  # address and name; a name may have several
    domains: tuple[str, ...] = ()  # no other server is asked for names below these
    others: str | None = None  # the IPv4 address of all other names; None: ask the host's name servers


def program(workspace_bin: Path, choice: str = "auto") -> str | None:
    """The server: coredns of $GOPATH/bin, of the workspace or in PATH, else dnsmasq; None: there is none.

    `choice` is `auto`, `coredns` or `dnsmasq`.
    """
    bundled = workspace_bin / "coredns"
    if choice != "dnsmasq":
        if own := programs.of_go("coredns"):
            return own
        if bundled.is_file() and os.access(bundled, os.X_OK):
            return str(bundled)
        if path := proc.find("coredns"):
            return path
    return None if choice == "coredns" else proc.find("dnsmasq")


def read_hosts(text: str, where: str) -> tuple[list[tuple[str, str]], list[str]]:
    """(address, name) of each name in a file like /etc/hosts, and all that is wrong with it."""
    hosts: list[tuple[str, str]] = []
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        address, *names = line.partition("#")[0].split() or [""]
        if not address:
            continue
        try:
            ipaddress.ip_address(address)
        except ValueError:
            problems.append(f"{where}, line {number}: '{address}' is no IP address")
        if not names:
            problems.append(f"{where}, line {number}: no name for {address}")
        for name in names:
            if not _NAME.fullmatch(name):
                problems.append(f"{where}, line {number}: '{name}' is no host name")
            hosts.append((address, name.rstrip(".").lower()))
    return hosts, problems


def up(place: DnsServer, server: str, zone: Zone) -> bool:
    """Make sure that a server with exactly this zone runs. Returns whether it had to be started.

    Raises UserError when the port is taken or the server does not start; then there is none.
    """
    argv, contents = _configured(place, server, zone)
    digest = files.digest([argv, contents])
    saved = records.intact(place.state, DnsRecord)
    if saved and saved.digest == digest and saved.running:
        return False
    records.end(place.state)
    place.folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        with files.atomic(place.folder / name) as temp:
            temp.write_text(text)
    place.log.unlink(missing_ok=True)
    failure = f"the DNS server {Path(server).name} did not start"
    helper.start(
        helper.Helper(failure, [*place.prefix, *argv], place.state, place.log, place.owner),
        lambda pid: listening.listens(pid, place.port),
        lambda mark: DnsRecord.at(mark, digest=digest, program=server, listen=place.listen, port=place.port),
        undo=lambda: down(place),
    )
    return True


def down(place: DnsServer) -> bool:
    """End the server and remove its files. Returns whether it ran; it is no error if there is none."""
    ran = running(place) is not None
    records.end(place.state)
    files.remove(place.folder)
    return ran


def running(place: DnsServer) -> int | None:
    """The server's process as it is now; None if it does not run."""
    return records.process(place.state)


def taken(port: int, own: int | None) -> str | None:
    """Who has the port on this host's loopback, if somebody else than `own` has; None: it is free."""
    return listening.owner(port, own)


def _configured(place: DnsServer, server: str, zone: Zone) -> tuple[list[str], dict[str, str]]:
    """The command line of a server, and its files."""
    hosts = hosts_file(zone)
    if Path(server).name == "coredns":
        # Its files are named from their directory: it would read a blank or a brace as something else.
        argv = unix_sockets.beside(place.folder, [server, "-conf", str(place.folder / "Corefile")])
        return argv, {"hosts": hosts, "Corefile": corefile(place, zone), "own.zone": OWN}
    paths = [f"--conf-file={place.folder / 'dnsmasq.conf'}", f"--addn-hosts={place.folder / 'hosts'}"]
    argv = [server, "--keep-in-foreground", *paths]
    return argv, {"hosts": hosts, "dnsmasq.conf": dnsmasq_conf(place, zone)}


def hosts_file(zone: Zone) -> str:
    """One line for each address; its first name is the one that a reverse question gets."""
    names: dict[str, list[str]] = {}
    for address, name in zone.hosts:
        names.setdefault(address, []).append(name)
    return "".join(f"{address} {' '.join(those)}\n" for address, those in names.items())


def dnsmasq_conf(place: DnsServer, zone: Zone) -> str:
    """The configuration of dnsmasq."""
    lines = [
        f"port={place.port}",
        *(f"listen-address={address}" for address in place.listen),
        *(["bind-interfaces"] if place.listen else []),
        "pid-file",
        "no-hosts",
        "domain-needed",
        "bogus-priv",
        f"cache-size={CACHE}",
        "log-facility=-",
        # It stays who it is: its files are the user's, and a namespace may have no other users or groups.
        "user=root",
        "group=",
        *(f"local=/{domain}/" for domain in _own(zone)),
        *(
            [f"address=/#/{zone.others}", "local=/#/", "no-resolv"]
            if zone.others
            else ["no-resolv", *(f"server={each}" for each in place.resolvers)]
            if place.resolvers
            else ["resolv-file=/etc/resolv.conf"]
        ),
    ]
    return "\n".join(lines) + "\n"


def corefile(place: DnsServer, zone: Zone) -> str:
    """The configuration of CoreDNS: a part that knows all itself, and one for the rest."""
    bind = [f"bind {' '.join(place.listen)}"] if place.listen else []
    hosts = f"hosts {unix_sockets.HERE / 'hosts'} {{\n\t\tfallthrough\n\t}}"
    nothing = f"file {unix_sockets.HERE / 'own.zone'}"
    resolvers = " ".join(place.resolvers) or "/etc/resolv.conf"
    names = {*zone.domains, *(name for _, name in zone.hosts if zone.others)}  # a template goes before hosts
    own = " ".join(f"{name}:{place.port}" for name in sorted(names))
    rest = [f"forward . {resolvers}"]
    if zone.others:
        answer = f'answer "{{{{ .Name }}}} 60 IN A {zone.others}"'
        rest = [f"template IN A {{\n\t\t{answer}\n\t}}", "template IN AAAA {\n\t\trcode NOERROR\n\t}"]
    first = _block(own, [*bind, hosts, nothing, "errors"]) if own else ""
    return first + _block(f".:{place.port}", [*bind, hosts, f"cache {CACHE}", *rest, "errors"])


def _block(name: str, lines: Sequence[str]) -> str:
    return f"{name} {{\n" + "".join(f"\t{line}\n" for line in lines) + "}\n"


def _own(zone: Zone) -> Iterable[str]:
    """Domains and names that only we know: a question of another kind must not wait for somebody else."""
    return sorted({*zone.domains, *(name for _, name in zone.hosts if "." in name)})
