"""settings ──> what a start would do, for `--dry-run`: nothing is made, and no guest is booted"""

from typing import Any

from tasks.base.node_names import number_of
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
