"""Throughput between two nodes, and what it takes to print it."""

import json
from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import with_overlay


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("iperf", "--nvm=2")


@pytest.mark.parametrize("to", ["192.168.1.2", "fd00::192.168.1.2", "192.168.1.2 --udp --bitrate 5M"])
def test_throughput_between_two_nodes(cluster: Cluster, to: str) -> None:
    cluster.rsh(2, "iperf3 --server --daemon --one-off")
    answer = json.loads(cluster.until(1, f"iperf3 --client {to} --time 2 --json"))
    end = answer["end"]
    received = end.get("sum_received") or end["sum"]
    print(f"{to}: {received['bits_per_second'] / 1e6:.1f} Mbit/s")
    assert received["bytes"] > 100_000
    assert answer["start"]["connected"][0]["remote_host"].endswith(("192.168.1.2", "c0a8:102"))
