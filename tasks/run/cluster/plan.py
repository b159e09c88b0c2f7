"""settings + stamps of artifacts + what runs ──> a plan: a start as a value

`survey` looks, and may boot the tiny guest that says whether KVM works. What makes a plan of that is pure: it
reads nothing, writes nothing and says nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tasks.base import limits
from tasks.base.paths import ClusterDir, Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net import selection
from tasks.run.net.protocol import NetBackend, Ports
from tasks.run.node import golden, kinds
from tasks.run.node.checkpoint import Checkpoint
from tasks.run.node.protocol import Boot
from tasks.run.node.snapshot import Shape
from tasks.run.running import ports
from tasks.run.running.cluster import Running

NO_ACCEL = "none"  # of clusters without virtual machines


@dataclass(frozen=True)
class Predecessor:
    """The cluster of the same name that is there; it ends before the new one starts."""

    numbers: tuple[int, ...]  # of its nodes, dead ones too
    pids: tuple[int, ...]  # of those that run
    ports: Ports | None  # None: its record cannot be read


@dataclass(frozen=True)
class Survey:
    """All that a plan is made from."""

    settings: Settings  # the network backend by name
    workspace: Workspace
    net_reason: str
    boot: Boot | None  # an ordinary one; None if no node is a virtual machine
    accel_reason: str
    ports: Ports
    predecessor: Predecessor | None
    processors: int


@dataclass(frozen=True)
class Plan:
    """A start, decided before anything is touched."""

    settings: Settings
    workspace: Workspace
    net_reason: str
    boot: Boot | None  # an ordinary one; None if no node is a virtual machine
    accel_reason: str
    shapes: tuple[Shape, ...]  # of the golden snapshots that nodes are to be cloned from
    nodes: tuple[Node, ...]
    ports: Ports
    predecessor: Predecessor | None = None  # what ends first; None also when nodes are added
    checkpoint: Checkpoint | None = None  # what nodes are restored from

    @property
    def backend(self) -> NetBackend:
        """What connects the nodes."""
        return selection.of(self.settings)

    @property
    def directory(self) -> ClusterDir:
        """Where the cluster lives."""
        return self.workspace.cluster(self.settings.name)

    @property
    def accel(self) -> str:
        """What runs the nodes: kvm or tcg, or none."""
        return self.boot.accel if self.boot else NO_ACCEL

    @property
    def held(self) -> frozenset[int]:
        """The ports of the host that are free when the predecessor has ended."""
        return held(self.predecessor, self.ports)


def survey(settings: Settings, workspace: Workspace, nodes: Iterable[Node] | None = None) -> Survey:
    """Look at the artifacts, the host and what runs, for `nodes` or those of the settings.

    UserError when kernel or image of virtual machines were not built.
    """
    net_reason, settings = selection.decide(settings)[1], selection.decided(settings)
    boot, why = None, "containers with cgroups of their own" if settings.cgroups else "containers"
    if kinds.machines(settings.nodes() if nodes is None else nodes):
        boot, accel = golden.ordinary(settings, workspace)
        why = accel.why
    return Survey(
        settings,
        workspace,
        net_reason,
        boot,
        why,
        ports.choose(settings, workspace),
        predecessor(workspace.cluster(settings.name)),
        limits.processors(),
    )


def predecessor(directory: ClusterDir) -> Predecessor | None:
    """The cluster that is in this directory, if there is one; it may be damaged, or dead."""
    if not directory.root.exists():
        return None
    cluster = Running(directory)
    return Predecessor(tuple(cluster.numbers), tuple(cluster.alive().values()), ports.recorded(cluster))


def held(predecessor: Predecessor | None, own: Ports) -> frozenset[int]:
    """The ports that a predecessor gives back; `own` are the new cluster's, which has the same if it can.

    The ports of its dead nodes are among them, since its nets may still hold those.
    """
    if predecessor is None:
        return frozenset()
    of_nodes = (predecessor.ports or own).of
    return frozenset(forward.host_port for number in predecessor.numbers for forward in of_nodes(number))


def to_start(survey: Survey, nodes: tuple[Node, ...] | None = None) -> Plan:
    """The start of the cluster of the settings, or of these of its nodes, in the place of its predecessor."""
    return replace(_of(survey, nodes or survey.settings.nodes()), predecessor=survey.predecessor)


def to_add(survey: Survey, nodes: tuple[Node, ...]) -> Plan:
    """These nodes, beside those of the cluster that run."""
    return _of(survey, nodes)


def to_restore(survey: Survey, checkpoint: Checkpoint) -> Plan:
    """The start of a cluster from a checkpoint; the survey is of its settings."""
    restored = replace(_of(survey, checkpoint.nodes), predecessor=survey.predecessor, net_reason="as saved")
    boot = _crowded(survey, checkpoint.nodes)
    return replace(restored, boot=boot, shapes=(), checkpoint=checkpoint)


def with_free_ports(plan: Plan, nets: NetBackend) -> Plan:
    """The plan, with other ports if somebody has taken its own since it was made, and they may move."""
    if not ports.moves(plan.settings) or not nets.preflight(plan.nodes, plan.ports):
        return plan
    return replace(plan, ports=ports.choose(plan.settings, plan.workspace))


def _of(survey: Survey, nodes: tuple[Node, ...]) -> Plan:
    settings = survey.settings
    return Plan(
        settings=settings,
        workspace=survey.workspace,
        net_reason=survey.net_reason,
        boot=_crowded(survey, {*nodes, *settings.nodes()}),
        accel_reason=survey.accel_reason,
        shapes=() if settings.cold else tuple(golden.shapes(settings, nodes)),
        nodes=nodes,
        ports=survey.ports,
    )


def _crowded(survey: Survey, nodes: Iterable[Node]) -> Boot | None:
    """The ordinary boot, which knows whether machines have more CPUs than there are processors."""
    crowded = sum(node.smp for node in kinds.machines(nodes)) > survey.processors
    return replace(survey.boot, crowded=crowded) if survey.boot else None
