"""dns start|stop|status: a DNS server without a cluster, and which ones run."""

import sys
from typing import Any

from tasks.base import output, progress, records
from tasks.base.errors import UsageError, UserError, unknown
from tasks.project.project import Does, Project
from tasks.run.net import dns_server
from tasks.run.net.net_state import DnsRecord
from tasks.run.services import dns

ACTIONS = ("start", "stop", "status")


def _dns(project: Project) -> None:
    action, options = project.words.args[0], project.words.options
    if action not in ACTIONS:
        raise UsageError(unknown("action", action, ACTIONS), project.words.usage)
    if (action == "stop" and options) or (action == "start" and "o" in options):
        which = "-o json, and 'dns start' and 'dns status' --dns-server"
        raise UsageError(f"only 'dns status' takes {which}; no other option exists", project.words.usage)
    if action == "status":
        _status(project)
    elif action == "start":
        _start(project)
    else:
        place = dns.place_here(project.workspace)
        place.kept.unlink(missing_ok=True)
        if not dns_server.down(place):
            progress.say("no DNS server runs")


def _start(project: Project) -> None:
    """Run a server without a cluster. If it cannot run, what was asked for before still counts."""
    workspace, kept = project.workspace, dns.place_here(project.workspace).kept
    before = kept.read_text() if kept.exists() else None
    workspace.run.mkdir(parents=True, exist_ok=True)
    kept.write_text(_choice(project))
    try:
        dns.refresh(workspace)
    except UserError:
        kept.unlink() if before is None else kept.write_text(before)
        raise
    _status(project)


def _choice(project: Project) -> str:
    """The program that is asked for here."""
    return project.words.options.get("dns_server") or project.settings.dns_server


def _facts(project: Project) -> dict[str, Any]:
    place = dns.place_here(project.workspace)
    server = records.intact(place.state, DnsRecord)
    pid = dns_server.running(place)
    users = dns.users_here(project.workspace)
    return {
        "running": pid is not None,
        "pid": pid,
        "program": server.program if server and pid else None,
        "listen": list(server.listen) if server and pid else [],
        "port": place.port,
        "clusters": [
            each.name for each in users if not dns.own_server(each) and dns.home_of(each) == place.folder
        ],
        "own": {each.name: dns_server.running(inner) for each in users if (inner := dns.own_server(each))},
        "problem": _problem(project, pid),
    }


def _problem(project: Project, pid: int | None) -> str | None:
    """Why no server can run as the clusters, `dns start` or the settings ask for it; None: one can."""
    place, users = dns.place_here(project.workspace), dns.users_here(project.workspace)
    choice = dns.choice_of([each for each in users if not dns.own_server(each)], place)
    if choice == "auto":
        choice = _choice(project)
    return dns.no_program(project.workspace, choice) if pid else dns.obstacle(project.workspace, choice)


def _status(project: Project) -> None:
    facts = _facts(project)
    if project.words.options.get("o"):
        output.as_json(facts)
        return
    for name, own in facts["own"].items():
        how = f"process {own}" if own else "not running"
        sys.stdout.write(f"cluster {name} has its own, at {dns.HOST} in its network: {how}\n")
    why = facts["problem"]
    if facts["running"]:
        where = ", ".join(f"[{each}]" if ":" in each else each for each in facts["listen"])
        where = where or "every address of this network"
        sys.stdout.write(f"{facts['program']} (process {facts['pid']}) on {where}, port {facts['port']}\n")
        sys.stdout.write(f"  for {', '.join(facts['clusters']) or 'no cluster'}\n")
        sys.stdout.write(f"  it is not the program that is asked for: {why}\n" if why else "")
    elif not facts["own"]:
        sys.stdout.write(f"not running{f': {why}' if why else ''}\n")


DOES: Does = {"dns": _dns}
