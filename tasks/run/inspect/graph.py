"""topology (and a running cluster) ──graph──> a picture of it: nodes by role, nets, addresses on the lines.

Also its plans as JSON, and with --docs the pages and pictures of all topologies below docs/.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tasks.base import files, proc, user_files
from tasks.base.errors import CommandError, DefinitionError, UsageError, UserError
from tasks.definitions import iso_choice
from tasks.definitions.settings import Settings
from tasks.project.project import Does, Project, of_topology
from tasks.run.running import reach
from tasks.run.running.cluster import Running
from tasks.topology import choice, drawing, envsettings, netplan, reachability, web_page
from tasks.topology.netplan import ClusterShape, NodePlan
from tasks.topology.schema import Topology

FORMATS = ("svg", "png", "dot", "mermaid", "json")
ANSWER = 10  # seconds for a node to tell of its links
AT_ONCE = 8  # nodes that are asked at the same time


def _graph(project: Project) -> None:
    options = project.words.options
    if options.get("docs"):
        _docs(project, Path(options["docs"]))
        return
    kind = options.get("o", "svg")
    if kind not in FORMATS:
        raise UsageError(f"graph -o {kind}: unknown format (known: {', '.join(FORMATS)})")
    try:
        figure, plans = _picture(project)
    except ValueError as error:  # a variable of guests that is no template
        raise UsageError(f"graph: {error}") from error
    content = _plans_json(figure, plans).encode() if kind == "json" else rendered(figure, kind, project)
    if options.get("file"):
        with user_files.written(Path(options["file"])) as temp:
            temp.write_bytes(content)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _picture(project: Project) -> tuple[drawing.Drawing, dict[int, NodePlan]]:
    """What is drawn: the running cluster, unless another topology is named, else the topology."""
    name = project.words.args[0] if project.words.args else project.words.settings.get("topology")
    running = Running.find(project.workspace, project.settings.name)
    if running and name in (None, running.settings.topology):
        return _running(project, running.settings)
    chosen = of_topology(project, name or project.settings.topology).settings
    topology = project.definitions.topologies[chosen.topology]
    shape = choice.shape(chosen, topology.scaleout, project.environ)
    plans = _plans(topology, shape)
    own = frozenset(number for number in plans if chosen.node_of(number).kind == "container")
    return dataclasses.replace(drawing.drawing(topology, shape, plans), containers=own), plans


def _running(project: Project, chosen: Settings) -> tuple[drawing.Drawing, dict[int, NodePlan]]:
    topology, shape, plans = standing(project, chosen)
    alive = frozenset(Running(project.workspace.cluster(chosen.name)).alive())
    state = drawing.State(alive, link_states(project, alive))
    nodes = Running(project.workspace.cluster(chosen.name)).nodes()
    own = frozenset(number for number, node in nodes.items() if node.kind == "container")
    return dataclasses.replace(drawing.drawing(topology, shape, plans, state), containers=own), plans


def standing(project: Project, chosen: Settings) -> tuple[Topology, ClusterShape, dict[int, NodePlan]]:
    """What the topology of the running cluster says of its nodes."""
    numbers = tuple(Running(project.workspace.cluster(chosen.name)).numbers)
    topology = project.definitions.topologies.get(chosen.topology)
    if topology is None:
        raise UserError(f"the cluster's topology '{chosen.topology}' is not defined any more")
    packed = iso_choice.recorded(project.workspace.choice(chosen.name))
    shape = choice.shape(chosen, numbers, packed.env if packed else {})
    return topology, shape, {number: netplan.plan(topology, number, shape) for number in numbers}


def _plans(topology: Topology, shape: ClusterShape) -> dict[int, NodePlan]:
    plans = netplan.plans(topology, shape)
    return {number: node for number, node in plans.items() if node.group is not None}


def link_states(project: Project, alive: frozenset[int]) -> dict[tuple[int, str], bool]:
    """Which interfaces have a carrier, as the nodes see it: (node, interface) -> up.

    QEMU does not tell whether it has cut a link, but its guest does. Who does not answer is left out.
    """

    def ask(number: int) -> dict[tuple[int, str], bool]:
        ssh = reach.to_node(project, number, ["ip", "-j", "link"])
        try:
            links = json.loads(proc.output(["timeout", str(ANSWER), *ssh]))
        except (CommandError, ValueError):
            return {}
        return {
            (number, link["ifname"]): "NO-CARRIER" not in link["flags"]
            for link in links
            if "UP" in link["flags"]
        }

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {key: up for states in pool.map(ask, sorted(alive)) for key, up in states.items()}


def rendered(figure: drawing.Drawing, kind: str, project: Project) -> bytes:
    """The drawing in one of the formats; svg and png by Graphviz."""
    if kind == "mermaid":
        return drawing.mermaid(figure).encode()
    source = drawing.dot(figure)
    if kind == "dot":
        return source.encode()
    if not proc.find("dot"):
        raise UserError(
            "the program 'dot' is missing, which makes svg and png",
            "apt-get install --no-install-recommends graphviz; or -o dot, -o mermaid, which need no program",
        )
    with files.scratch(project.workspace.root / "graph.dot") as temp:
        temp.write_text(source)
        picture = proc.output(["dot", f"-T{kind}", str(temp)])
    return web_page.marked(picture.decode(), source).encode() if kind == "svg" else picture


def _plans_json(figure: drawing.Drawing, plans: Mapping[int, NodePlan]) -> str:
    pairs = reachability.promised(figure.topology, plans, figure.shape)
    return (
        json.dumps(
            {
                "topology": figure.topology.name,
                "nets": {str(net): text for net, text in figure.topology.nets.items()},
                "nodes": [
                    {
                        "name": node.name,
                        "kind": "container" if node.number in figure.containers else "vm",
                        **dataclasses.asdict(node),
                        "bridges": node.bridges,
                        "sysctls": node.sysctls,
                    }
                    for node in plans.values()
                ],
                "reachable": [dataclasses.asdict(pair) for pair in pairs],
            },
            indent=1,
        )
        + "\n"
    )


def _docs(project: Project, folder: Path) -> None:
    """topologies.md, its part below the mark, topologies/<name>.svg, and what upstream's scripts read."""
    page = folder / "topologies.md"
    if not page.is_file() or web_page.MARK not in page.read_text():
        raise UserError(f"{page} has no line '{web_page.MARK}', which must be above the generated part")
    if project.definitions.problems:
        raise DefinitionError(project.definitions.problems)
    shown = sorted(project.definitions.topologies.values(), key=lambda topology: topology.name)
    for topology in shown:
        figure = web_page.drawn(topology)
        with files.atomic(folder.absolute() / "topologies" / f"{topology.name}.svg") as temp:
            temp.write_bytes(rendered(figure, "svg", project))
    for topology in (each for each in shown if each.directory.parent == project.definitions.home):
        for place in envsettings.places(topology):
            with files.atomic(topology.directory / place) as temp:
                temp.write_text(envsettings.text(topology))
    with files.atomic(page.absolute()) as temp:
        temp.write_text(web_page.page(page.read_text(), shown))


DOES: Does = {"graph": _graph}
