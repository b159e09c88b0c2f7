"""QEMU's filters on the netdevs of a running machine: what looks at frames, delays or drops them."""

import re
from collections.abc import Iterable
from pathlib import Path

from tasks.base.unix_sockets import HERE
from tasks.run.node.qmp import Monitor

FRAMES_ALONE = 8  # QEMU's version
TAP_HEADER = 12  # bytes of virtio_net_hdr_mrg_rxbuf
# A frame that the guest sends is one that its netdev receives.
QUEUE = {"out": "rx", "in": "tx"}


async def dump(monitor: Monitor, name: str, netdev: str, file: Path) -> None:
    """Write every frame of `netdev`, both ways, to `file` (pcap) from now on, until `name` is removed."""
    await monitor.execute("object-add", **{"qom-type": "filter-dump", "id": name, "netdev": netdev,
                                           "file": str(file)})  # fmt: skip


async def surplus(monitor: Monitor, netdev: str) -> int:
    """Bytes before each frame that `dump` writes: before QEMU 8 the header that goes with a tap."""
    version = (await monitor.execute("query-version"))["qemu"]["major"]
    if version >= FRAMES_ALONE:
        return 0
    network = str(await monitor.execute("human-monitor-command", **{"command-line": "info network"}))
    return TAP_HEADER if re.search(rf"{netdev}: index=\d+,type=tap", network) else 0


async def redirect(monitor: Monitor, name: str, netdev: str, doors: Path, ways: Iterable[str]) -> None:
    """Send the frames of each way, `out` or `in`, through the program at `doors`.<way>.from and .to,
    in the directory of the node.

    When the program dies no frame passes until the redirection is removed.
    """
    for way in ways:
        for end in ("from", "to"):
            address = {"type": "unix", "data": {"path": f"{HERE / doors.name}.{way}.{end}"}}
            backend = {"type": "socket", "data": {"addr": address, "server": False}}
            await monitor.execute("chardev-add", id=f"{name}-{way}-{end}", backend=backend)
        await monitor.execute("object-add", **{
            "qom-type": "filter-redirector", "id": f"{name}-{way}", "netdev": netdev, "queue": QUEUE[way],
            "outdev": f"{name}-{way}-from", "indev": f"{name}-{way}-to",
        })  # fmt: skip


async def remove(monitor: Monitor, name: str) -> None:
    """Remove the filter `name`, or all parts of a redirection `name`; it is no error if there is none."""
    for each in await names(monitor):
        if each == name or each.startswith(f"{name}-"):
            await monitor.execute("object-del", id=each)
    for chardev in await monitor.execute("query-chardev"):
        if chardev["label"].startswith(f"{name}-"):
            await monitor.execute("chardev-remove", id=chardev["label"])


async def names(monitor: Monitor) -> list[str]:
    """The filters and other objects of a machine."""
    objects = await monitor.execute("qom-list", path="/objects")
    return [each["name"] for each in objects if each["type"].startswith("child<")]
