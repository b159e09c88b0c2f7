"""Everything that a running cluster leaves on the disk, file by file, and what is wrong with it.

The models of nets and nodes are in their own rooms, net_state.py and node_state.py: those write them.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tasks.base import records
from tasks.base.errors import UserError
from tasks.base.node_names import number_in
from tasks.base.paths import ClusterDir
from tasks.base.records import Damaged, ProcessRecord, Record
from tasks.build.credentials.kubeconfig import Joined
from tasks.definitions.settings import Settings
from tasks.run.net import net_state
from tasks.run.net.protocol import Ports
from tasks.run.node import node_state


class ClusterRecord(Record):
    """What a cluster was started with."""

    settings: Settings
    ports: Ports
    accel: str
    made_of: Mapping[str, str]  # hashes of its artifacts
    started: int  # seconds since the epoch


class WindowRecord(ProcessRecord):
    """The process of a window, and its place in the raster; the role of the node whose console it shows."""

    column: int = 0
    row: int = 0
    role: str = ""


# In the directory of a cluster: which files there may be, and what each holds.
FILES: Mapping[str, type[Record]] = {
    "cluster.json": ClusterRecord,
    "kubeconfig.json": Joined,
    "fakenet.helper": ProcessRecord,
    "dns/server.json": net_state.DnsRecord,
    f"net/{net_state.PLACE}": net_state.NetPlace,
    f"net/{net_state.TAPS}": net_state.Taps,
    f"net/{net_state.SWITCH}": ProcessRecord,
    f"net/{net_state.CUSTOM}": net_state.CustomLinks,
    "vm-*/node.json": node_state.NodeRecord,
    f"vm-*/{node_state.CABLES}": node_state.Cables,
    f"vm-*/{net_state.WIRE}": net_state.WireRecord,
    "vm-*/*.window": WindowRecord,
}


def obstacle(cluster: ClusterDir) -> UserError | None:
    """What is where the directory of a cluster should be, if that is no directory."""
    if cluster.root.is_dir() or not os.path.lexists(cluster.root):
        return None
    return UserError(
        f"{cluster.root} is in the way: the directory of the cluster '{cluster.root.name}' has to be there",
        f"remove it (rm {cluster.root}), or choose another name with --name",
    )


def read(cluster: ClusterDir) -> ClusterRecord:
    """What a cluster was started with. Raises Damaged, also where there is no such file."""
    return records.read(cluster.state, ClusterRecord, net_state.advice(cluster))


def write(cluster: ClusterDir, record: ClusterRecord) -> None:
    """Record what a cluster is started with."""
    records.write(cluster.state, record)


def damages(cluster: ClusterDir) -> list[Damaged]:
    """Everything that is wrong with the files of a cluster, one error a file."""
    return list(_damages(cluster))


def _damages(cluster: ClusterDir) -> Iterator[Damaged]:
    for path, model in _expected(cluster):
        try:
            records.read(path, model, net_state.advice(cluster))
        except Damaged as damage:
            yield damage


def _expected(cluster: ClusterDir) -> Iterator[tuple[Path, type[Record]]]:
    """The files that are there, and those that must be."""
    must = {cluster.state, *(cluster.node(number).state for number in node_state.numbers(cluster))}
    record = records.intact(cluster.state, ClusterRecord)
    if record and record.settings.net == "bridge":
        must.add(cluster.net / net_state.PLACE)
    # A pattern without a star would not match a link to nothing.
    there = {*cluster.root.glob("*"), *cluster.root.glob("*/*")} | must
    for pattern, model in FILES.items():
        depth = pattern.count("/") + 1
        own = [path for path in there if len(path.relative_to(cluster.root).parts) == depth]
        paths = {path for path in own if path.relative_to(cluster.root).match(pattern)}
        for path in sorted(paths):
            parent = path.parent.name
            if not pattern.startswith("vm-*") or number_in(parent):
                yield path, model
