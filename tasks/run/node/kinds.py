"""The kind of a node ──> its backend: virtual machines by QEMU, containers by the host's kernel

All that starts, ends and looks for nodes goes through here.
"""

from collections.abc import Iterable, Sequence

from tasks.base.paths import NodeDir
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net.protocol import Nic
from tasks.run.node import container_node, qemu
from tasks.run.node.container_cable import ContainerCable
from tasks.run.node.machine_cable import MachineCable
from tasks.run.node.protocol import Boot, Cable, Layers, NodeRun


def machines(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Those that are virtual machines."""
    return tuple(node for node in nodes if node.kind == "vm")


def containers(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Those that are containers."""
    return tuple(node for node in nodes if node.kind == "container")


def cable(node: Node, own: NodeDir, index: int, inside: Sequence[str]) -> Cable:
    """The cable of the NIC eth<index> of a running node; `inside` is what stands before a command there."""
    return ContainerCable(own, index, inside) if node.kind == "container" else MachineCable(own, index)


class EveryKind:
    """The backend of nodes of all kinds."""

    def preflight(self, settings: Settings, nodes: Sequence[Node], freed: int = 0) -> list[str]:
        """What the backends of the kinds that there are lack."""
        problems = []
        if machines(nodes):
            problems += qemu.BACKEND.preflight(settings, machines(nodes), freed)
        if containers(nodes):
            problems += container_node.BACKEND.preflight(settings, containers(nodes), freed)
        return problems

    def start(self, boot: Boot | Layers, node: Node, nics: Sequence[Nic], directory: NodeDir) -> NodeRun:
        """Start a node from what nodes of its kind are started from."""
        if isinstance(boot, Layers):
            return container_node.BACKEND.start(boot, node, nics, directory)
        return qemu.BACKEND.start(boot, node, nics, directory)

    def stop(self, directory: NodeDir) -> None:
        """End a node; its file says which process it is, and its files of what kind it was."""
        if (directory.root / container_node.SPEC).is_file():
            container_node.BACKEND.stop(directory)
        else:
            qemu.BACKEND.stop(directory)

    def pid(self, directory: NodeDir) -> int | None:
        """The process of a node."""
        return qemu.BACKEND.pid(directory)


BACKEND = EveryKind()
