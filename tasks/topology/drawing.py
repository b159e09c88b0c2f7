"""Plans of nodes -> a drawing as text for Graphviz (dot) or Mermaid: nets are bars, nodes are boxes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.definitions.roles import COLOUR
from tasks.topology.netplan import ClusterShape, Interface, NodePlan, address
from tasks.topology.schema import Topology

NET_COLOUR = "#eeeeee"
DEAD, DOWN = "#d0d0d0", "#c00000"
SINGLE = 6  # nodes of a group that are drawn one by one; if there are more, all are drawn as one box


@dataclass(frozen=True)
class State:
    """What runs of a cluster, and which of its links are up."""

    alive: frozenset[int]
    links: Mapping[tuple[int, str], bool]  # (node, interface) -> up; a missing one is unknown


@dataclass(frozen=True)
class Box:
    """One or more nodes that are drawn as one."""

    nodes: tuple[NodePlan, ...]
    planned: bool = False  # the topology has a place for it, but `start` does not start it

    @property
    def first(self) -> NodePlan:
        """The one whose interfaces are drawn."""
        return self.nodes[0]

    @property
    def lines(self) -> list[str]:
        """What stands in it."""
        node = self.first
        title = node.name if len(self.nodes) == 1 else f"{node.name} ... {self.nodes[-1].name}"
        does = [f"{dev.name} {dev.addresses[0].v4}" for dev in node.interfaces if dev.name in node.bridges]
        does += [f"NAT of net {', '.join(map(str, node.nat))}"] if node.nat else []
        return [title, *does]


@dataclass(frozen=True)
class Drawing:
    """All that is drawn."""

    topology: Topology
    shape: ClusterShape
    boxes: tuple[Box, ...]
    state: State | None = None
    containers: frozenset[int] = frozenset()  # the nodes that are containers

    @property
    def nets(self) -> list[int]:
        """The nets, in the order of their distance from the cluster's nodes, with the boxes between them."""
        return [int(name[3:]) for name in self.order if name.startswith("net")]

    @property
    def order(self) -> list[str]:
        """Nets and nodes, beginning with the cluster nodes and what is near to them."""
        neighbours: dict[str, list[str]] = {box.first.name: [] for box in self.boxes}
        for box in self.boxes:
            for dev in wired(box.first):
                neighbours[box.first.name].append(f"net{dev.net}")
                neighbours.setdefault(f"net{dev.net}", []).append(box.first.name)
        order = dict.fromkeys(box.first.name for box in self.boxes if box.first.role == "vm")
        rest = [box.first.name for box in self.boxes]
        while len(order) < len(neighbours):
            near = [name for one in order for name in neighbours.get(one, ()) if name not in order]
            order |= dict.fromkeys(near or [name for name in rest if name not in order][:1])
        return list(order)


def drawing(
    topology: Topology, shape: ClusterShape, plans: Mapping[int, NodePlan], state: State | None = None
) -> Drawing:
    """The drawing. Without `state`, the nodes that are only in `shape.more` are drawn as planned."""
    groups: dict[tuple[str, bool], list[NodePlan]] = {}
    for node in plans.values():
        planned = state is None and node.number in shape.more
        groups.setdefault((node.group or node.name, planned), []).append(node)
    boxes = [box for (_, planned), nodes in groups.items() for box in _boxes(nodes, planned)]
    return Drawing(topology, shape, tuple(sorted(boxes, key=lambda box: box.first.number)), state)


def _boxes(nodes: Sequence[NodePlan], planned: bool) -> list[Box]:
    if len(nodes) <= SINGLE:
        return [Box((node,), planned) for node in nodes]
    return [Box(tuple(nodes), planned)]


def wired(node: NodePlan) -> Iterator[Interface]:
    """The interfaces that are drawn: net 0 is not."""
    yield from (dev for dev in node.interfaces if dev.net)


def dot(picture: Drawing) -> str:
    """For Graphviz."""
    lines = [
        f"graph {_quoted(picture.topology.name)} {{",
        '  graph [rankdir=TB, ranksep=0.45, nodesep=0.35, fontname="Helvetica", bgcolor="white"];',
        '  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=11, margin="0.12,0.06"];',
        '  edge [fontname="Helvetica", fontsize=9, color="#606060"];',
    ]
    boxes = {box.first.name: box for box in picture.boxes}
    for name in picture.order:
        lines.append(_dot_box(picture, boxes[name]) if name in boxes else _dot_net(picture, int(name[3:])))
    lines += [_dot_edge(picture, box, dev, upwards) for box, dev, upwards in _edges(picture)]
    return "\n".join([*lines, "}"]) + "\n"


def _edges(picture: Drawing) -> Iterator[tuple[Box, Interface, bool]]:
    """Every interface, and whether its net (True) or its node (False) is further up in the picture."""
    rank = {name: i for i, name in enumerate(picture.order)}
    for box in picture.boxes:
        for dev in wired(box.first):
            yield box, dev, rank[f"net{dev.net}"] < rank[box.first.name]


def _dot_net(picture: Drawing, net: int) -> str:
    label = _quoted("\n".join(_net_lines(picture, net)))
    return (
        f'  "net{net}" [label={label}, style="filled", fillcolor="{NET_COLOUR}", color="#808080", '
        'fontsize=10, margin="0.3,0.04"];'
    )


def _net_lines(picture: Drawing, net: int) -> list[str]:
    """The title and the subnets that are on the wire."""
    title = f"net {net}: {picture.topology.nets.get(net, 'not of the topology')}"
    used = {d.subnet for box in picture.boxes for d in box.first.interfaces if d.net == net and d.addresses}
    subnets = [address(subnet, 0, picture.shape.prefix) for subnet in sorted(used, key=str) if subnet]
    return [title, *(f"{each.interface(4)}  {each.interface(6)}" for each in subnets)]


def _dot_box(picture: Drawing, box: Box) -> str:
    alive = _alive(picture, box)
    colour = COLOUR[box.first.role] if alive is None or alive else DEAD
    style = "filled,rounded,dashed" if box.planned else "filled,rounded"
    label = _quoted("\n".join([*box.lines, *_count(picture, box)]))
    return f'  "{box.first.name}" [label={label}, fillcolor="{colour}", style="{style}"];'


def _dot_edge(picture: Drawing, box: Box, dev: Interface, upwards: bool) -> str:
    ends = [f'"{box.first.name}"', f'"net{dev.net}"']
    down = _is_down(picture, box, dev)
    look = f', color="{DOWN}", fontcolor="{DOWN}", style=dashed' if down else ""
    label = _quoted("\n".join(f"  {line}" for line in _edge_lines(box, dev, down)))  # not on the line itself
    return f"  {' -- '.join(reversed(ends) if upwards else ends)} [label={label}{look}];"


def _edge_lines(box: Box, dev: Interface, down: bool) -> list[str]:
    title = f"{dev.name} in {dev.bridge}" if dev.bridge else dev.name
    more = " ..." if len(box.nodes) > 1 else ""
    return [f"{title} (down)" if down else title, *(own.v4 + more for own in dev.addresses)]


def _alive(picture: Drawing, box: Box) -> bool | None:
    """Whether one of the nodes runs; None in a drawing of the topology alone."""
    return None if picture.state is None else any(node.number in picture.state.alive for node in box.nodes)


def _count(picture: Drawing, box: Box) -> list[str]:
    return [*_number(picture, box), *_kind(picture, box)]


def _kind(picture: Drawing, box: Box) -> list[str]:
    """How many of the nodes are containers, if there are some."""
    own = sum(node.number in picture.containers for node in box.nodes)
    if len(box.nodes) == 1:
        return ["container"] if own else []
    return [f"{'' if own == len(box.nodes) else f'{own} '}containers"] if own else []


def _number(picture: Drawing, box: Box) -> list[str]:
    if picture.state is None:
        return [f"{len(box.nodes)} nodes"] if len(box.nodes) > 1 else []
    running = sum(node.number in picture.state.alive for node in box.nodes)
    if len(box.nodes) > 1:
        return [f"{running} of {len(box.nodes)} alive"]
    return [] if running else ["dead"]


def _is_down(picture: Drawing, box: Box, dev: Interface) -> bool:
    links = picture.state.links if picture.state else {}
    return any(links.get((node.number, dev.name)) is False for node in box.nodes)


def mermaid(picture: Drawing) -> str:
    """For Mermaid, as Markdown pages of many sites show it."""
    lines = ["flowchart TD"]
    boxes = {box.first.name: box for box in picture.boxes}
    for name in picture.order:
        if name not in boxes:
            label = "<br/>".join(_net_lines(picture, int(name[3:])))
            lines.append(f'  {name}[["{_entities(label)}"]]:::net')
            continue
        box = boxes[name]
        kind = "dead" if _alive(picture, box) is False else "planned" if box.planned else box.first.role
        label = "<br/>".join([*box.lines, *_count(picture, box)])
        lines.append(f'  {_word(name)}["{_entities(label)}"]:::{kind}')
    for box, dev, upwards in _edges(picture):
        down = _is_down(picture, box, dev)
        ends = [_word(box.first.name), f"net{dev.net}"]
        label = _entities("<br/>".join(_edge_lines(box, dev, down)))
        line = "-.-" if down else "---"
        between = f' {line}|"{label}"| '
        lines.append("  " + between.join(reversed(ends) if upwards else ends))
    lines += [f"  classDef {role} fill:{colour},stroke:#606060" for role, colour in COLOUR.items()]
    lines += [
        f"  classDef net fill:{NET_COLOUR},stroke:#808080",
        f"  classDef dead fill:{DEAD},stroke:#606060",
    ]
    lines.append("  classDef planned fill:#ffffff,stroke:#606060,stroke-dasharray:4")
    return "\n".join(lines) + "\n"


def _word(name: str) -> str:
    return name.replace("-", "")


def _quoted(text: str) -> str:
    """A string of the dot language (https://graphviz.org/doc/info/lang.html)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _entities(text: str) -> str:
    """Mermaid knows no escaped quotes, only entities."""
    return text.replace('"', "#quot;")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
