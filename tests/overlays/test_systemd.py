"""systemd as init: the scripts of other overlays run in a unit of it, and units of one's own run beside."""

from collections.abc import Iterator

import pytest

from tests.boot.conftest import Cluster
from tests.overlays.conftest import with_overlay

UNIT = "[Service]\\nExecStart=/bin/echo from-a-unit\\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    yield from with_overlay("systemd", "--nvm=2")


def test_all_units_are_up(cluster: Cluster) -> None:
    assert "systemd" in cluster.rsh(1, "cat /proc/1/comm")
    for number in (1, 2):
        assert cluster.rsh(number, "systemctl is-system-running --wait").strip() == "running"
        assert cluster.rsh(number, "systemctl is-active xcluster xcluster-console").split() == ["active"] * 2


def test_what_the_scripts_started_goes_on(cluster: Cluster) -> None:
    """The unit's main process has ended; what it has started must not end with it."""
    cluster.rsh(1, "systemctl is-system-running --wait")
    assert "dnsmasq" in cluster.rsh(1, "cat /sys/fs/cgroup/system.slice/*/cgroup.procs >/dev/null; ps")
    assert "vm-002" in cluster.rsh(1, "nslookup vm-002")


def test_a_unit_of_ones_own(cluster: Cluster) -> None:
    cluster.rsh(1, f"printf '{UNIT}' > /run/systemd/system/own.service; systemctl daemon-reload")
    cluster.rsh(1, "systemctl start own")
    assert "from-a-unit" in cluster.until(1, "journalctl -u own | grep from-a-unit")


def test_a_reboot(cluster: Cluster) -> None:
    booted = cluster.rsh(2, "cat /proc/sys/kernel/random/boot_id")
    cluster.xc("reset_vm", "2")
    cluster.until(2, f'[ "$(cat /proc/sys/kernel/random/boot_id)" != {booted.strip()} ]', 90)
    assert cluster.rsh(2, "systemctl is-system-running --wait").strip() == "running"
