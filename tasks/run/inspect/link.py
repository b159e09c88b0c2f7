"""The verbs that disturb a running cluster's links: `link` unplugs a NIC, `netem` adds delay and loss."""

import sys
from dataclasses import asdict
from typing import Any

from tasks.base import locks, output, progress, records
from tasks.base.errors import UsageError, unknown
from tasks.project.project import Does, Project
from tasks.run.inspect import nics
from tasks.run.net import netem
from tasks.run.node import node_state
from tasks.run.node.node_state import Cables


def _link(project: Project) -> None:
    word, *rest = project.words.args
    if len(rest) < 2:
        chosen = [nics.find(project, word, rest[0])] if rest else nics.of_node(project, word)
        rows = [
            {"interface": nic.name, "net": nic.node.nets[nic.index], "link": _state(nic)} for nic in chosen
        ]
        _show(project, rows, "{interface:<6} net {net:<3} {link}")
        return
    state = rest[1]
    if state not in ("up", "down"):
        raise UsageError(unknown("link state", state, ("up", "down")), project.words.usage)
    nic = nics.find(project, word, rest[0])
    with locks.locked(nic.own.root / "links.lock"):
        nic.cable.plug(up=state == "up")
        cables = {**node_state.cables(nic.own).cables, nic.name: state}
        records.write(nic.own.links, Cables.model_validate({"cables": cables}))
    progress.say(f"{nic.text} is {state}")


def _state(nic: nics.Plugged) -> str:
    """The state of the link as we recorded it: nobody can be asked for it of a virtual machine."""
    return node_state.cables(nic.own).cables.get(nic.name, "up")


def _netem(project: Project) -> None:
    word, interface, action = (*project.words.args, "", "")[:3]
    values = {name: text for name, text in project.words.options.items() if name in netem.OPTIONS}
    way = project.words.options.get("direction", "out")
    if action not in ("", "show", "off"):
        raise UsageError(unknown("action", action, ("show", "off")), project.words.usage)
    if way not in netem.WAYS:
        raise UsageError(unknown("direction", way, netem.WAYS), project.words.usage)
    if action and (values or "direction" in project.words.options):
        raise UsageError(f"'{action}' takes no options", project.words.usage)
    if action == "off":
        _off(nics.find(project, word, interface))
    elif values and not interface:
        raise UsageError("no interface is given", project.words.usage)
    elif values:
        _on(nics.find(project, word, interface), netem.parse(values), way)
    else:
        _list(project, word, interface)


def _on(nic: nics.Plugged, impairment: netem.Impairment, way: str) -> None:
    """Replace the impairment of this NIC. If that fails, the NIC has none."""
    with locks.locked(nic.own.root / f"netem-{nic.name}.lock"):
        nic.cable.disturb(impairment, netem.WAYS[way])
    progress.say(f"{nic.text}, {way}: {impairment}")


def _off(nic: nics.Plugged) -> None:
    with locks.locked(nic.own.root / f"netem-{nic.name}.lock"):
        nic.cable.relieve()
    progress.say(f"{nic.text}: a good link again")


def _list(project: Project, word: str, interface: str) -> None:
    chosen = [nics.find(project, word, interface)] if interface else nics.of_node(project, word)
    rows: list[dict[str, Any]] = []
    for nic in chosen:
        now = netem.current(nic.own.root, nic.name)
        base = {"interface": nic.name, "net": nic.node.nets[nic.index]}
        if project.words.options.get("o"):
            rows.append({**base, **{way: asdict(each) for way, each in now.items()}})
        else:
            text = "; ".join(f"{way}: {each}" for way, each in now.items())
            rows.append({**base, "text": text or "good"})
    _show(project, rows, "{interface:<6} net {net:<3} {text}")


def _show(project: Project, rows: list[dict[str, Any]], line: str) -> None:
    if project.words.options.get("o"):
        output.as_json(rows)
        return
    for row in rows:
        sys.stdout.write(f"{line.format_map(row)}\n")


DOES: Does = {"link": _link, "netem": _netem}
