"""A workspace with artifacts, a cluster that runs in it, and what carries out a start without machines."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base.paths import Workspace
from tests.run.cluster.fakes import Machines, Nets, Sleepers, Sshd, artifacts


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    """One with a path that is short enough for sockets, and a kernel and an image in it."""
    with tempfile.TemporaryDirectory(prefix="xc-", dir="/tmp") as folder:
        place = Workspace(Path(folder))
        artifacts(place)
        yield place


@pytest.fixture
def old() -> Iterator[Sleepers]:
    """Processes of the cluster that runs before."""
    sleepers = Sleepers()
    yield sleepers
    sleepers.end()


@pytest.fixture
def machines(old: Sleepers) -> Iterator[Machines]:
    """A node backend without QEMU."""
    new = Sleepers()
    yield Machines(old, new)
    new.end()


@pytest.fixture
def nets(machines: Machines) -> Iterator[Nets]:
    """A network backend without a net; a server answers for all nodes."""
    server = Sshd()
    yield Nets(machines, server.port)
    server.close()
