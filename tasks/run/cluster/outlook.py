"""settings ──> what a start would do, for `--dry-run`: nothing is made, and no guest is booted"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.base.node_names import node_name, number_of
from tasks.project.project import Project
from tasks.run.net import selection
from tasks.run.node import golden, kinds, snapshot
from tasks.run.running import ports
from tasks.run.running.cluster import running


def of_start(project: Project) -> dict[str, Any]:
    """The nodes, nets, ports and snapshots of a start, and which cluster it would end."""
    settings = selection.decided(project.settings)
    numbers = [number_of(word) for word in project.words.args]  # of scaleout
    nodes = [settings.node_of(number) for number in numbers] or list(settings.nodes())
    alive = running(project.workspace.cluster(settings.name))
    here = ports.choose(settings, project.workspace)
    shapes = [] if settings.cold else golden.shapes(settings, nodes)
    machines = kinds.machines(nodes)
    cloned = [node.name for node in machines if snapshot.shape_of(node) in shapes]
    return {
        "cluster": settings.name,
        "runs": sorted(alive),
        "kernel": settings.kernel,
        "image": settings.image,
        "net": {"backend": settings.net, "why": selection.decide(project.settings)[1]},
        "nodes": [
            {"name": node.name, "kind": node.kind, "mem": node.mem, "smp": node.smp, "nets": list(node.nets)}
            for node in nodes
        ],
        "ports": {"ssh": here.ssh, "telnet": here.telnet, "api": here.api},
        "moved": ports.moved(settings, project.workspace, here),
        "clones": cloned,
        "boots": [node.name for node in machines if node.name not in cloned],
        "containers": [node.name for node in kinds.containers(nodes)],
    }


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The same for people. What is as always is left out: no ports that moved, no node that only boots."""
    yield f"cluster: {facts['cluster']}"
    if facts["runs"]:
        yield f"runs now: {', '.join(map(node_name, facts['runs']))}"
    if len(facts["containers"]) < len(facts["nodes"]):
        yield f"kernel: {facts['kernel']}"
    yield f"image: {facts['image']}"
    yield f"net: {facts['net']['backend']} ({facts['net']['why']})"
    yield "nodes:"
    for node in facts["nodes"]:
        processors = f"{node['smp']} processor{'s' if node['smp'] > 1 else ''}"
        on = f"nets {', '.join(map(str, node['nets']))}" if node["nets"] else "no nets"
        yield f"  {node['name']}: {node['mem']} MiB, {processors}, {on}, {_way(node['name'], facts)}"
    yield f"ports: {'; '.join(_ports(facts['ports']))}"
    yield from facts["moved"]


def _way(name: str, facts: Mapping[str, Sequence[str]]) -> str:
    if name in facts["containers"]:
        return "a container"
    return "cloned from a snapshot" if name in facts["clones"] else "booted"


def _ports(ports: Mapping[str, int | None]) -> Iterator[str]:
    yield f"ssh to node N at 127.0.0.1:{ports['ssh']}+N"
    if ports["telnet"]:
        yield f"telnet at {ports['telnet']}+N"
    if ports["api"]:
        yield f"the Kubernetes API at 127.0.0.1:{ports['api']}"
