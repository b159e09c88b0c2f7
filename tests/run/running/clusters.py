"""Clusters of which only the files are there, as a start writes them."""

import os
from pathlib import Path

from tasks.base import records
from tasks.base.paths import ClusterDir, Workspace
from tasks.base.records import Mark
from tasks.definitions.settings import Settings
from tasks.run.net.protocol import Ports
from tasks.run.node.node_state import NodeRecord
from tasks.run.running import state
from tasks.run.running.state import ClusterRecord

PORTS = Ports(12300, None)


def started(
    workspace: Workspace, settings: Settings, ports: Ports = PORTS, *, pid: int = 0, start: int | None = None
) -> ClusterDir:
    """The files of a cluster, whose nodes are all the process `pid`; by default one that never was."""
    directory = workspace.cluster(settings.name)
    directory.root.mkdir(parents=True)
    chosen = settings.model_copy(update={"net": "userspace"}) if settings.net == "auto" else settings
    record = ClusterRecord(settings=chosen, ports=ports, accel="tcg", made_of={"kernel": "k"}, started=1)
    state.write(directory, record)
    mark = Mark(pid=pid or os.getpid(), start=start if pid else 1)
    for node in settings.nodes():
        own = directory.node(node.number)
        own.root.mkdir()
        image = Path("/images/base.qcow2")
        records.write(own.state, NodeRecord.at(mark, number=node.number, node=node, image=image))
    return directory
