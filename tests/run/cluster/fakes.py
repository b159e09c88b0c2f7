"""Clusters without machines: nodes that are `sleep`, nets that are noted, artifacts that are a few bytes."""

import socket
import subprocess
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.base import files, records
from tasks.base.errors import UserError
from tasks.base.paths import ClusterDir, NodeDir, Workspace
from tasks.base.records import Mark
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net.protocol import Nic, Ports, loose
from tasks.run.node.node_state import NodeRecord
from tasks.run.node.protocol import Boot, Frozen, Layers, NodeRun
from tasks.run.running import state
from tasks.run.running.state import ClusterRecord

PORTS = Ports(21300, None)


def artifacts(workspace: Workspace) -> None:
    """A kernel and an image, as far as a plan looks at them."""
    for path in (workspace.kernel("debian") / "bzImage", workspace.image("base")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    files.write_json(workspace.stamp("kernel", "debian"), {"boot": "bzImage", "files": {"bzImage": "1"}})
    files.write_json(workspace.stamp("image", "base"), {"files": {"base.qcow2": "1"}})


@dataclass
class Sleepers:
    """Processes that stand for QEMU; all that were started are ended with the test."""

    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def node(self, own: NodeDir, node: Node) -> "subprocess.Popen[bytes]":
        """A process for this node, recorded as QEMU's is."""
        process = subprocess.Popen(["sleep", "300"], start_new_session=True)
        self.processes.append(process)
        own.root.mkdir(parents=True, exist_ok=True)
        mark = Mark.of(process.pid)
        records.write(
            own.state, NodeRecord.at(mark, number=node.number, node=node, image=Path("/base.qcow2"))
        )
        return process

    def cluster(self, workspace: Workspace, settings: Settings, ports: Ports = PORTS) -> ClusterDir:
        """A cluster that runs, of the nodes of the settings."""
        directory = workspace.cluster(settings.name)
        directory.root.mkdir(parents=True)
        chosen = settings.model_copy(update={"net": "userspace"})
        record = ClusterRecord(settings=chosen, ports=ports, accel="tcg", made_of={}, started=1)
        state.write(directory, record)
        for node in settings.nodes():
            self.node(directory.node(node.number), node)
        return directory

    @property
    def alive(self) -> bool:
        """Whether all that were started run."""
        return all(process.poll() is None for process in self.processes)

    def end(self) -> None:
        """End them all."""
        for process in self.processes:
            process.kill()
            process.wait()


class Sshd:
    """Greets whoever connects, as the ssh server of a node that is up."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:
                return
            with link:
                link.sendall(b"SSH-2.0-fake\r\n")

    def close(self) -> None:
        """Greet nobody any more."""
        self._server.close()


@dataclass
class Machines:
    """A node backend that notes what it is asked for, and can be told to fail."""

    old: Sleepers  # the cluster that ran before
    new: Sleepers
    events: list[str] = field(default_factory=list)
    missing: Sequence[str] = ()
    missing_later: Sequence[str] = ()  # when the old cluster has ended
    fails_at: int = 0  # the number of the node that does not start
    console: str = ""

    def preflight(self, settings: Settings, nodes: Sequence[Node], freed: int = 0) -> list[str]:
        """What the test says."""
        self.events.append(f"machines, old {'alive' if self.old.alive else 'gone'}")
        return list(self.missing if self.old.alive else self.missing_later)

    def start(self, boot: Boot | Layers, node: Node, nics: Sequence[Nic], directory: NodeDir) -> NodeRun:
        """A process that does nothing, of a node that is ready."""
        self.events.append(f"start {node.number}")
        process = self.new.node(directory, node)
        directory.console_log.write_text(self.console)
        if node.number == self.fails_at:
            raise UserError("it does not start")
        return NodeRun(node, directory, process, Frozen(Path("ram"), None, booted=True))

    def stop(self, directory: NodeDir) -> None:
        """End the process."""
        self.events.append(f"stop {directory.root.name}")
        records.end(directory.state)

    def pid(self, directory: NodeDir) -> int | None:
        """The process."""
        mark = records.mark(directory.state)
        return mark.running if mark else None


@dataclass
class Nets:
    """A network backend that notes what it is asked for, and can be told to fail."""

    machines: Machines  # whose list of events is used
    port: int  # where a node's ssh server is
    missing: Sequence[str] = ()
    held: Collection[int] = ()
    fails: str = ""

    @property
    def _events(self) -> list[str]:
        return self.machines.events

    def preflight(self, nodes: Sequence[Node], ports: Ports, held: Collection[int] = ()) -> list[str]:
        """What the test says."""
        self._events.append(f"nets, old {'alive' if self.machines.old.alive else 'gone'}")
        self.held = held or self.held
        return list(self.missing)

    def up(self, cluster: ClusterDir, nodes: Sequence[Node], prefix: str, ports: Ports) -> None:
        """Note it, or fail."""
        self._events.append("up")
        if self.fails == "up":
            raise UserError("no nets here")

    def unplug(self, cluster: ClusterDir, number: int, ports: Ports | None = None) -> None:
        """Note it."""
        self._events.append(f"unplug {number}")

    def down(self, cluster: ClusterDir) -> None:
        """Note it, or fail."""
        self._events.append("down")
        if self.fails == "down":
            raise UserError("a bridge stays")

    def nics(self, cluster: ClusterDir, node: Node, prefix: str, ports: Ports) -> list[Nic]:
        """Such that lead nowhere."""
        return [loose(net, node.mac(net), tap=False) for net in node.nets]

    def inside(self, cluster: ClusterDir | None) -> list[str]:
        """Here."""
        return []

    def ssh(self, cluster: ClusterDir, number: int, ports: Ports) -> tuple[str, int]:
        """One server answers for all."""
        return "127.0.0.1", self.port

    def processes(self, cluster: ClusterDir) -> Mapping[str, int | None]:
        """None."""
        return {}
