"""a running cluster ──status──> what it is and which of its nodes live, or what is wrong with its files"""

import sys
from dataclasses import asdict, dataclass
from typing import Any

from tasks.base import output, progress
from tasks.base.node_names import node_name
from tasks.base.paths import Workspace
from tasks.base.records import Damaged
from tasks.definitions.roles import role_of
from tasks.engine.exit_code import EXIT
from tasks.project.project import Does, Project
from tasks.run.node import node_state
from tasks.run.running import absent
from tasks.run.running.cluster import Running, running


@dataclass(frozen=True)
class NodeStatus:
    """One node, alive or dead."""

    name: str
    number: int
    role: str
    pid: int | None
    state: str  # alive, dead
    kind: str | None  # vm, container; None if that is no longer known
    host: str | None  # where its ssh server is reached; None if that is no longer known
    ssh: int | None

    def text(self) -> str:
        """One line."""
        where = f"ssh {self.host}:{self.ssh}  " if self.host else ""
        kind = "  container" if self.kind == "container" else ""
        return f"  {self.name}  {self.role:<7} {self.state:<5} {where}pid {self.pid}{kind}\n"


@dataclass(frozen=True)
class Damage:
    """A file that cannot be understood."""

    file: str
    why: str


@dataclass(frozen=True)
class Status:
    """One cluster. If cluster.json is damaged, it is no longer known with what it was started."""

    name: str
    kernel: str | None
    image: str | None
    accel: str | None
    net: str | None
    started: int | None  # seconds since the epoch
    dead: tuple[str, ...]  # processes of its nets that have ended
    damaged: tuple[Damage, ...]
    nodes: tuple[NodeStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `-o json`."""
        return asdict(self)

    def text(self) -> str:
        """Some lines for people."""
        lines = []
        if self.kernel:
            facts = f"kernel {self.kernel}, image {self.image}, accel {self.accel}, net {self.net}"
            lines.append(f"{self.name}: {facts}\n")
        else:
            lines.append(f"{self.name}: damaged\n")
        lines += [f"  nets: the {name} has died: xc stop, or xc start\n" for name in self.dead]
        lines += [f"  {each.file}: {each.why}\n" for each in self.damaged]
        if self.damaged:
            lines.append(
                f"  `xc stop --name={self.name}` ends it, `xc start --name={self.name}` replaces it\n"
            )
        return "".join([*lines, *(node.text() for node in self.nodes)])


def of(cluster: Running) -> Status:
    """The state of a cluster, found out now."""
    damages = tuple(Damage(str(each.path), each.why) for each in cluster.damages)
    alive = cluster.alive()
    nodes = tuple(_node(cluster, number, alive.get(number)) for number in cluster.numbers)
    try:
        record = cluster.record
    except Damaged:
        return Status(cluster.name, None, None, None, None, None, (), damages, nodes)
    settings = record.settings
    dead = tuple(name for name, pid in cluster.backend.processes(cluster.directory).items() if pid is None)
    facts = (settings.kernel, settings.image, record.accel, settings.net, record.started)
    return Status(cluster.name, *facts, dead, damages, nodes)


def _node(cluster: Running, number: int, pid: int | None) -> NodeStatus:
    state = "alive" if pid else "dead"
    host: str | None = None
    port: int | None = None
    try:
        host, port = cluster.address(number)
    except Damaged:
        pass
    return NodeStatus(
        node_name(number), number, _role(number), pid, state, _kind(cluster, number), host, port
    )


def _kind(cluster: Running, number: int) -> str | None:
    try:
        return node_state.read(cluster.node(number)).node.kind
    except Damaged:
        return None


def _role(number: int) -> str:
    try:
        return role_of(number)
    except ValueError:  # a directory that somebody else made
        return "?"


def _status(project: Project) -> None:
    options, name = project.words.options, project.settings.name
    if options.get("quiet"):
        EXIT.end_with(min(len(running(project.workspace.cluster(name))), 255))
        return
    if options.get("all"):
        clusters = [of(each) for each in Running.all_left(project.workspace)]
    else:
        cluster = Running.find(project.workspace, name)
        clusters = [of(cluster)] if cluster else []
    if options.get("o") == "json":
        shown = [each.as_dict() for each in clusters]
        one = shown[0] if shown else None
        output.as_json(shown if options.get("all") else one)
        return
    if not clusters:
        progress.say(absent.sentence(str(project.workspace.run), name))
    for each in clusters:
        sys.stdout.write(each.text())


def facts(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """A cluster as `-o json` tells it; None when nothing of it is there."""
    cluster = Running.find(workspace, name)
    return of(cluster).as_dict() if cluster else None


DOES: Does = {"status": _status}
