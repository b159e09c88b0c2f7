"""Topologies -> the page that describes them, and the mark that shows whether a picture is up to date."""

import hashlib
import re
from collections.abc import Iterable

from tasks.topology import check, drawing, netplan
from tasks.topology.netplan import NodePlan, Way
from tasks.topology.schema import Promise, Topology

MARK = "<!-- below: made by `./xc graph --docs docs` -->"
_COMMENTS = re.compile(r"<!--.*?-->\n?", re.S)


def drawn(topology: Topology) -> drawing.Drawing:
    """The topology as its definition has it."""
    shape = check.as_defined(topology)
    return drawing.drawing(topology, shape, netplan.plans(topology, shape))


def source_mark(source: str) -> str:
    """The comment that says what a picture was made from."""
    return f"<!-- xc graph, from dot source {hashlib.sha256(source.encode()).hexdigest()} -->"


def marked(svg: str, source: str) -> str:
    """An SVG of Graphviz with our comment in place of its comments, which contain its version."""
    head, _, body = svg.partition("<svg")
    return head + source_mark(source) + "\n<svg" + _COMMENTS.sub("", body)


def page(old: str, topologies: Iterable[Topology]) -> str:
    """The page: what stands above the mark, then a part for each topology."""
    head = old.partition(MARK)[0]
    return head + MARK + "\n" + "".join(f"\n{_part(topology)}" for topology in topologies)


def _part(topology: Topology) -> str:
    plans = drawn(topology)
    rows = [_row(topology, name, plans) for name in topology.groups]
    lines = [
        f"## {topology.name}",
        "",
        topology.summary,
        "",
        f"![{topology.name}](topologies/{topology.name}.svg)",
        "",
    ]
    lines += drawing.markdown_table(("node", "addresses", "routes", "also"), [row for row in rows if row])
    promises = [_promise(each) for each in topology.reachable]
    lines += ["", f"Promised: {'; '.join(promises)}."] if promises else []
    lines += [
        f"It uses the guests' variable `{name}`, for example `{value}`."
        for name, value in topology.variables.items()
    ]
    return "\n".join(lines) + "\n"


def _row(topology: Topology, name: str, picture: drawing.Drawing) -> list[str]:
    nodes = [node for box in picture.boxes for node in box.nodes if node.group == name]
    if not nodes:
        return []
    first = nodes[0]
    group = topology.groups[name]
    title = first.name if len(nodes) == 1 else f"{first.name} ... {nodes[-1].name}"
    addresses = "<br>".join(_addresses(first))
    if group.role or len(nodes) > 1:
        title += ", N" if len(nodes) > 1 else " ..., N"
        addresses = addresses.replace(f".{first.number}/", ".N/")
    return [title, addresses, "<br>".join(_routes(first)) or "-", "<br>".join(_besides(first)) or "-"]


def _addresses(node: NodePlan) -> list[str]:
    parts = []
    for dev in node.interfaces[1:]:
        where = f" on net {dev.net}" if dev.net and dev.net != dev.subnet else ""
        own = ", ".join(one.interface(4) for one in dev.addresses) or (
            "in " + dev.bridge if dev.bridge else "none"
        )
        parts.append(f"{dev.name}{where}: {own}")
    return parts


def _routes(node: NodePlan) -> list[str]:
    return [_route(way) for way in node.routes]


def _route(way: Way) -> str:
    to = "default" if way.to4 == "0.0.0.0/0" else way.to4
    hops = ", ".join(hop.address.v4 if hop.address else f"dev {hop.dev}" for hop in way.hops)
    bound = f", bound to {way.bound_to}" if way.bound_to else ""
    four = ", IPv4 only" if way.to6 is None else ""
    return f"{to} via {hops}{bound}{four}".replace("via dev", "dev")


def _besides(node: NodePlan) -> list[str]:
    parts = [f"{name} joins {', '.join(ports)}" for name, ports in node.bridges.items()]
    parts += ["forwards"] if node.forward else []
    return parts + ([f"NAT of net {', '.join(map(str, node.nat))}"] if node.nat else [])


def _promise(each: Promise) -> str:
    on = f" on net {', '.join(map(str, each.nets))}" if each.nets else ""
    when = f" with {each.when}" if each.when else ""
    return f"{each.source} to {each.to}{on}{when}"
