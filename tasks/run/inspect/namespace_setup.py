"""The verbs that make network namespaces by number and remove them, as a whole or in halves."""

import contextlib
import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tasks.base import files, proc, progress, signals
from tasks.base.errors import CommandError, UserError
from tasks.project.project import Does, Project
from tasks.run.inspect import namespaces
from tasks.run.net import bridge, dns_place, dns_server, masquerade, numbered

BASE, PREFIX = "172.30.0.0/24", "fd00:1723::"
ALONE = "xcluster"  # the name of rules that belong to no single namespace


def _nsadd(project: Project) -> None:
    _make(_new(project), project)


def _nsadd_docker(project: Project) -> None:
    _make(_docker(_new(project)), project)


def _new(project: Project) -> numbered.NumberedNamespace:
    space = _space(project)
    if space.name in namespaces.spaces():
        raise UserError(f"the namespace {space.name} already exists", f"enter it: xc nsenter {space.number}")
    return space


def _make(space: numbered.NumberedNamespace, project: Project) -> None:
    try:
        for command in numbered.add(space):
            namespaces.as_root(command)
        if not space.docker:
            _outer(project, space.outer)
        _inner(space, project, _inside(space))
    except BaseException:
        _remove(space)
        raise
    own = " and ".join(address for address in (space.own, space.own6) if address)
    progress.say(f"namespace {space.name}: {own}, bridges xcbr0 xcbr1 xcbr2")


def _inside(space: numbered.NumberedNamespace) -> masquerade.Run:
    """Runs commands in the namespace."""

    def run(command: Sequence[str]) -> str:
        return namespaces.as_root(["ip", "netns", "exec", space.name, proc.need(command[0]), *command[1:]])

    return run


def _outer(project: Project, name: str) -> None:
    """Let namespaces out: the half that concerns the host."""
    rules = numbered.outer_rules(name, _base(project), _prefix(project))
    namespaces.as_root(numbered.FORWARDING)
    masquerade.make(rules, namespaces.as_root)


def _inner(space: numbered.NumberedNamespace, project: Project, run: masquerade.Run) -> None:
    """Addresses, rules and bridges: the half that concerns the namespace; `run` runs commands there."""
    for command in numbered.setup(space):
        run(command)
    prefix = project.settings.prefix
    masquerade.make(numbered.inner_rules(space, prefix), run)
    folder = project.workspace.root / "nsadd"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        plan = {"bridges": bridge.bridges(numbered.NETS, prefix, 1500), "keep": True}
        files.write_json(folder / "plan.json", plan)
        run([sys.executable, "-I", str(bridge.LINKS), str(folder / "plan.json")])
    finally:
        files.remove(folder)


def _masq(project: Project) -> None:
    """Without a namespace: for those that somebody makes himself."""
    if "off" in project.words.options:
        masquerade.remove(ALONE, namespaces.as_root)
        return
    _outer(project, ALONE)


def _nssetup(project: Project) -> None:
    """Set up the namespace that we are in, as `nsadd` does."""
    options = project.words.options
    space = _space(project)
    if space.inner not in {name for _, name in socket.if_nameindex()}:
        raise UserError(
            f"there is no link {space.inner} in this network namespace",
            f"nssetup is the inner half of nsadd: run it where {space.inner} is",
        )
    space = _docker(space) if "docker" in options else space
    space = replace(
        space,
        own=options.get("adr4", space.own),
        host=options.get("gw4", space.host),
        own6=options.get("adr6", space.own6),
        host6=options.get("gw6", space.host6),
    )
    _inner(space, project, namespaces.as_root)


def _docker_net(project: Project) -> None:
    """The addresses of a namespace at docker's bridge, for a shell."""
    space = _docker(_space(project))
    facts = {"adr4": space.own, "gw4": space.host, "adr6": space.own6, "gw6": space.host6}
    sys.stdout.write("".join(f"__{name}='{value}'\n" for name, value in facts.items() if value))


def _docker(space: numbered.NumberedNamespace) -> numbered.NumberedNamespace:
    """The same namespace at docker's bridge. UserError where there is none, or an address is in use."""
    if numbered.DOCKER not in {name for _, name in socket.if_nameindex()}:
        raise UserError(
            f"there is no bridge {numbered.DOCKER} here: docker does not run in this network namespace",
            f"without docker: xc nsadd {space.number}",
        )
    (link,) = _ip("address", "show", "dev", numbered.DOCKER)
    there = [f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"]]
    space = numbered.beside_docker(space, there)
    users = {each["dst"] for each in _ip("neighbour", "show", "dev", numbered.DOCKER) if "lladdr" in each}
    for own in (space.own, space.own6):
        if own.partition("/")[0] in users:
            raise UserError(f"{own} is in use on {numbered.DOCKER}", "choose another number")
    return space


def _ip(*words: str) -> list[dict[str, Any]]:
    """What ip knows."""
    listed: list[dict[str, Any]] = json.loads(proc.output([proc.need("ip"), "-j", *words]) or "[]")
    return listed


def _nsdel(project: Project) -> None:
    space = namespaces.existing(project.words.args[0])
    dns = dns_place.shared(project.workspace.run, space.name)
    server = str(dns_server.running(dns))
    pids = namespaces.as_root(["ip", "netns", "pids", space.name]).split()
    busy = [pid for pid in pids if pid != server]
    if busy:
        raise UserError(
            f"{len(busy)} processes run in {space.name}: {' '.join(busy[:8])}",
            f"end them first; clusters there: xc nsenter {space.number} ./xc stop",
        )
    dns.kept.unlink(missing_ok=True)
    dns_server.down(dns)
    _remove(space)
    progress.say(f"namespace {space.name} is removed")


@signals.whole
def _remove(space: numbered.NumberedNamespace) -> None:
    """Remove all parts of the namespace that exist."""
    with contextlib.suppress(CommandError):
        masquerade.remove(space.outer, namespaces.as_root)
    for command in numbered.remove(space):
        with contextlib.suppress(CommandError):
            namespaces.as_root(command)


def _base(project: Project) -> str:
    base = project.words.options.get("ipv4_base", BASE)
    return f"{base}.0.0/24" if base.count(".") == 1 else base  # upstream's older form, 172.30


def _prefix(project: Project) -> str:
    return project.words.options.get("ipv6_prefix", PREFIX)


def _space(project: Project) -> numbered.NumberedNamespace:
    return numbered.named(project.words.args[0], namespaces.user(), _base(project), _prefix(project))


DOES: Does = {
    "nsadd": _nsadd,
    "nsadd_docker": _nsadd_docker,
    "nssetup": _nssetup,
    "masq": _masq,
    "docker_net": _docker_net,
    "nsdel": _nsdel,
}
