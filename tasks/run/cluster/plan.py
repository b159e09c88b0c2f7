"""settings + artifacts ──> a start, decided before anything is touched"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.base import progress
from tasks.base.paths import ClusterDir, Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net import selection
from tasks.run.net.protocol import NetBackend, Ports
from tasks.run.node import golden
from tasks.run.node import snapshot as frozen
from tasks.run.node.checkpoint import Checkpoint
from tasks.run.node.protocol import Boot
from tasks.run.running import ports


@dataclass(frozen=True)
class Plan:
    """A start, decided before anything is touched."""

    settings: Settings
    workspace: Workspace
    boot: Boot  # an ordinary one
    why_accel: str
    snapshots: Mapping[frozen.Shape, Path]  # what nodes are cloned from
    nodes: tuple[Node, ...]
    ports: Ports
    saved: Checkpoint | None = None  # what nodes are restored from
    why_net: str = "as saved"

    @property
    def backend(self) -> NetBackend:
        """What connects the nodes."""
        return selection.of(self.settings)

    @property
    def directory(self) -> ClusterDir:
        """Where the cluster lives."""
        return self.workspace.cluster(self.settings.name)


def to_start(settings: Settings, workspace: Workspace, nodes: tuple[Node, ...] | None = None) -> Plan:
    """Decide everything about a start from settings and artifacts."""
    why_net, settings = selection.decide(settings)[1], selection.decided(settings)
    plain, why = golden.plain(settings, workspace)
    chosen = nodes or settings.nodes()
    plain = replace(plain, crowded=_crowded({*chosen, *settings.nodes()}))
    shapes = [] if settings.cold else golden.wanted(settings, chosen)
    found = {shape: golden.ensure(settings, workspace, plain, shape) for shape in shapes}
    snapshots = {shape: place for shape, place in found.items() if isinstance(place, Path)}
    for reason in {reason for reason in found.values() if isinstance(reason, str)}:
        progress.say(f"no golden snapshot, nodes boot the ordinary way: {reason}")
    for shape, source in snapshots.items():
        unpacked = golden.with_overlays(settings, plain, shape, source)
        if isinstance(unpacked, str):
            progress.say(f"every node unpacks the overlays itself: {unpacked}")
        else:
            snapshots[shape] = unpacked
    here = ports.choose(settings, workspace)
    return Plan(settings, workspace, plain, why, snapshots, chosen, here, why_net=why_net)


def to_restore(saved: Checkpoint, workspace: Workspace, name: str) -> Plan:
    """The start of a cluster `name` from a checkpoint."""
    settings = saved.settings(name)
    plain, why = golden.plain(settings, workspace)
    plain = replace(plain, crowded=_crowded(saved.nodes))
    here = ports.choose(settings, workspace)
    return Plan(settings, workspace, plain, why, {}, saved.nodes, here, saved)


def _crowded(nodes: Iterable[Node]) -> bool:
    return sum(node.smp for node in nodes) > (os.cpu_count() or 1)
