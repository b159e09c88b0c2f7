"""A cluster with one overlay, and what tests of networks ask of nodes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.boot.conftest import Cluster, running, stopped
from tests.conftest import is_named

__all__ = ["stopped"]  # a fixture for every test here

HERE = Path(__file__).parent
SAMPLES = {"test_mpls.py", "test_netns.py"}  # quick ones that stand for all in a run of all tests


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """All tests here are for a run that names them; others have the samples only."""
    if is_named(HERE, config):
        return None
    return True if collection_path.name.startswith("test_") and collection_path.name not in SAMPLES else None


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """All of these boot virtual machines."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.boot)


def with_overlay(
    name: str, *words: str, env: Mapping[str, str] | None = None, more: Sequence[str] = ()
) -> Iterator[Cluster]:
    """A started cluster t-NAME with the overlay NAME and `more`. `env` is for mkcdrom: `xcluster_X`."""
    cluster = Cluster(f"t-{name}", env or {})
    cluster.xc("mkcdrom", "env", "network-topology", name, *more)
    try:
        yield from running(cluster.name, ["--nrouters=0", *words], cluster.env)
    finally:
        cluster.xc("mkcdrom")


def seen(cluster: Cluster, number: int, what: str, command: tuple[int, str], packets: int = 2) -> str:
    """What tcpdump on a node prints of the first packets that fit, while `command` runs on a node."""
    capture = f"timeout 60 tcpdump -c {packets} -nn {what} > /tmp/seen 2> /tmp/seen.err"
    cluster.rsh(
        number, f"rm -f /tmp/seen*; {capture} & until grep -qs listening /tmp/seen.err; do usleep 50000; done"
    )
    cluster.until(*command)
    return cluster.until(number, f'[ "$(wc -l < /tmp/seen)" -ge {packets} ] && cat /tmp/seen')


def ping(address: str, *options: str) -> str:
    """A command that succeeds when one packet came back."""
    return " ".join(["ping", "-c1", "-W3", *options, address])
