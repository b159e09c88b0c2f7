"""A running cluster as an object, which looks each time and keeps nothing in memory.

What is on the disk is read when somebody asks for it. `status` reports a damaged file, and `stop` works
nevertheless; code that needs the content of the file gets an error that says so.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from tasks.base import locks
from tasks.base.node_names import node_name
from tasks.base.paths import ClusterDir, NodeDir, Workspace
from tasks.base.records import Damaged
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net import net_state, selection
from tasks.run.net.protocol import NetBackend, Ports
from tasks.run.node import kinds, node_state
from tasks.run.running import absent, processes, state
from tasks.run.running.state import ClusterRecord


@dataclass(frozen=True)
class Running:
    """A cluster that has been started, and not stopped: alive, dead or damaged."""

    directory: ClusterDir

    @classmethod
    def find(cls, workspace: Workspace, name: str) -> Self | None:
        """The cluster of this name; None when nothing of it is there, neither files nor processes."""
        directory = workspace.cluster(name)
        return cls(directory) if directory.root.is_dir() or processes.of(directory) else None

    @classmethod
    def get(cls, workspace: Workspace, name: str) -> Self:
        """The same. Raises UserError when nothing of it is there, or the directory is gone."""
        directory = workspace.cluster(name)
        if directory.root.is_dir():
            return cls(directory)
        if processes.of(directory):
            raise Damaged(directory.root, "the directory is gone", net_state.advice(directory))
        raise absent.error(workspace.run, name)

    @classmethod
    def every(cls, workspace: Workspace) -> list[Self]:
        """All clusters that have a directory, by name."""
        there = workspace.run.iterdir() if workspace.run.is_dir() else ()
        names = sorted(path.name for path in there if path.is_dir() and not path.name.startswith("."))
        return [cls(workspace.cluster(name)) for name in names]

    @classmethod
    def all_left(cls, workspace: Workspace) -> list[Self]:
        """The same, with those of which only processes are left. This looks at every process of the host."""
        names = {each.name for each in cls.every(workspace)} | processes.clusters(workspace)
        return [cls(workspace.cluster(name)) for name in sorted(names)]

    @property
    def name(self) -> str:
        """The name of the cluster."""
        return self.directory.root.name

    @cached_property
    def record(self) -> ClusterRecord:
        """What it was started with. Raises Damaged."""
        return state.read(self.directory)

    @property
    def settings(self) -> Settings:
        """The settings that it was started with. Raises Damaged."""
        return self.record.settings

    @property
    def ports(self) -> Ports:
        """Where its forwarded ports begin. Raises Damaged."""
        return self.record.ports

    @property
    def backend(self) -> NetBackend:
        """What connects its nodes. Raises Damaged."""
        return selection.get(self.settings.net, self.settings.net_setup)

    @property
    def cleaner(self) -> NetBackend:
        """What takes its nets down: its backend, or the one whose files are there when that is not known."""
        try:
            return self.backend
        except Damaged:
            if (self.directory.net / net_state.PLACE).exists():
                return selection.get("bridge")
            return selection.get("userspace" if net_state.switches(self.directory) else "custom")

    @property
    def damages(self) -> list[Damaged]:
        """All that is wrong with its files."""
        if not self.directory.root.is_dir():
            return [Damaged(self.directory.root, "the directory is gone", net_state.advice(self.directory))]
        lost = sorted(set(processes.nodes(self.directory)) - set(self.numbers))
        return state.damages(self.directory) + [self._lost(number) for number in lost]

    def _lost(self, number: int) -> Damaged:
        why = f"the directory is gone, but the machine of {node_name(number)} runs"
        return Damaged(self.node(number).root, why, net_state.advice(self.directory))

    def check(self) -> None:
        """Raise the first Damaged, for who is going to add something to the cluster."""
        for damage in self.damages:
            raise damage

    @property
    def numbers(self) -> list[int]:
        """The nodes that it has, alive or dead."""
        return node_state.numbers(self.directory)

    def node(self, number: int) -> NodeDir:
        """The files of one node."""
        return self.directory.node(number)

    def nodes(self) -> dict[int, Node]:
        """What its nodes were started as, alive or dead. Raises Damaged."""
        return {number: node_state.read(self.node(number)).node for number in self.numbers}

    def alive(self) -> dict[int, int]:
        """The nodes that run: number -> pid. One whose file is damaged is found by its process."""
        pids = {number: kinds.BACKEND.pid(self.node(number)) for number in self.numbers}
        machines = {} if all(pids.values()) else processes.nodes(self.directory)
        return {number: running for number, pid in pids.items() if (running := pid or machines.get(number))}

    def alive_nodes(self) -> list[Node]:
        """What the nodes that run were started as. Raises Damaged."""
        return [node_state.read(self.node(number)).node for number in self.alive()]

    def pid(self, number: int) -> int | None:
        """The machine of one node; None when it does not run."""
        return kinds.BACKEND.pid(self.node(number)) or processes.nodes(self.directory).get(number)

    def at(self, number: int) -> tuple[str, int]:
        """Address and port of a node's ssh server. Raises Damaged, or UserError if it cannot be reached."""
        self.backend.inside(self.directory)
        return self.address(number)

    def address(self, number: int) -> tuple[str, int]:
        """The same, without a check whether the address can be reached. Raises Damaged."""
        return self.backend.ssh(self.directory, number, self.ports)


def locked(workspace: Workspace, name: str) -> AbstractContextManager[None]:
    """Hold the lock of this cluster: nobody else starts, changes, saves or stops it meanwhile."""
    busy = f"another start, stop or checkpoint of cluster '{name}' is under way"
    return locks.locked(workspace.cluster(name).lock, wait=False, busy=busy)


def running(directory: ClusterDir) -> dict[int, int]:
    """The running nodes of a cluster: number -> pid. Empty if there is no such cluster."""
    return Running(directory).alive()


def settings_of(workspace: Workspace, name: str) -> Settings | None:
    """What the cluster of this name was started with; None when it does not run. Raises Damaged."""
    cluster = Running.find(workspace, name)
    return cluster.settings if cluster else None
