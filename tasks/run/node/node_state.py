"""What a running node leaves on the disk, beside its own disk, sockets and logs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tasks.base import records
from tasks.base.errors import UserError
from tasks.base.node_names import number_in
from tasks.base.paths import ClusterDir, NodeDir
from tasks.base.records import ProcessRecord, Record
from tasks.definitions.schema import Node

CABLES = "links.json"


class NodeRecord(ProcessRecord):
    """A node that was started: its process, what it is, and the files below its disk and memory."""

    number: int
    node: Node
    image: Path
    iso: Path | None = None
    ram: Path | None = None
    containers: Path | None = None


class Cables(Record):
    """Which cables were pulled or plugged in again; all others are plugged in."""

    cables: Mapping[str, Literal["up", "down"]] = {}


def numbers(cluster: ClusterDir) -> list[int]:
    """The nodes that have a directory, whether they run or not."""
    return sorted(
        number for path in cluster.root.glob("*") if (number := number_in(path.name)) and path.is_dir()
    )


def read(own: NodeDir) -> NodeRecord:
    """What a node was started as. Raises Damaged."""
    return records.read(own.state, NodeRecord, _advice(own))


def refuse_container(own: NodeDir) -> None:
    """Raise UserError when the node is a container: what is asked for is done by QEMU."""
    if read(own).node.kind == "container":
        raise UserError(
            f"{own.root.name} is a container, and this is possible with virtual machines only",
            "what each kind of node can: docs/nodes.md",
        )


def cables(own: NodeDir) -> Cables:
    """The cables of a node. Raises Damaged."""
    return records.read_if_there(own.links, Cables, _advice(own)) or Cables()


def _advice(own: NodeDir) -> str:
    cluster, number = own.root.parent.name, own.root.name
    return f"`xc scalein --name={cluster} {number}` removes this node, `xc stop --name={cluster}` the cluster"
