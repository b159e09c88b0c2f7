"""A bad wire between the cable of a container and its net: frames come late, slowly, or not at all.

    python veth_wire.py CABLE READY SETTINGS
    python veth_wire.py CABLE

CABLE is JSON: the `name` of the cable's outer end, its `bridge`, its `mtu`, what the `wire` is called, and
the process that keeps the `node`. SETTINGS are those of net/programs/wire.py. The first form puts the outer
end at a bridge of its own, called as the wire, and carries frames between a tap there and a tap at the bridge
of the net; so the kernel splits what is larger than a frame, and fills in checksums. It makes the file READY,
and ends with the node. The second form puts the cable back. Works in the network namespace of the cluster.
"""

import contextlib
import fcntl
import json
import os
import select
import struct
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4]))  # it runs in isolated mode

from tasks.run.net.programs.wire import Wire  # noqa: E402
from tasks.run.node.programs import veth  # noqa: E402

TUNSETIFF = 0x400454CA  # <linux/if_tun.h>
TAP, NO_PI = 0x0002, 0x1000
BR_GROUP_FWD_MASK, BR_MCAST_SNOOPING = 9, 23  # IFLA_BR_*
LLDP = 0x4000  # bit 14 of 01:80:c2:00:00:0X, which the bridges of nets pass on, too
FRAME = 1 << 16
AT_ONCE = 64  # frames that are read before others are sent
PLAIN = {"delay": 0.0, "jitter": 0.0, "loss": 0.0, "rate": 0.0, "limit": 100_000}


class TapWire(Wire):
    """One direction, from a tap to another one."""

    def __init__(self, settings: dict[str, Any], source: int, target: int) -> None:
        self.tap, self.other = source, target
        self.settings = settings
        self.begin()

    def read(self) -> None:
        """Take some frames that are there."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                frame = os.read(self.tap, FRAME)
                self.put(struct.pack(">I", len(frame)) + frame, time.monotonic())

    def deliver(self, frame: bytes) -> None:
        """What a tap does not take is lost, as on a wire."""
        with contextlib.suppress(OSError):
            os.write(self.other, frame[4:])


def tap(name: str) -> int:
    """A tap that goes with us, as a file descriptor. Raises OSError."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP | NO_PI))
    return device


def connect(cable: dict[str, Any]) -> tuple[int, int]:
    """Put the wire between cable and bridge: the taps on the node's side, and on that of the net."""
    wire = str(cable["wire"])
    taps = tap(f"{wire}n"), tap(f"{wire}b")
    options = veth.attribute(BR_GROUP_FWD_MASK, struct.pack("H", LLDP))
    options += veth.attribute(BR_MCAST_SNOOPING, b"\0")
    kind = veth.text_of(veth.KIND, "bridge") + veth.attribute(veth.DATA | veth.NESTED, options)
    info = veth.attribute(veth.LINKINFO | veth.NESTED, kind)
    with veth.netlink() as link:
        veth.ask(link, wire, veth.NEWLINK, veth.CREATE | veth.EXCL, veth.named(wire) + info)
        veth.silence(link, wire, state=veth.WITHOUT_ARP)
        for name, bridge in ((f"{wire}n", wire), (f"{wire}b", str(cable["bridge"]))):
            mtu = veth.number_of(veth.MTU, cable["mtu"])
            veth.ask(link, name, veth.NEWLINK, 0, veth.named(name) + mtu)
            veth.port(link, name, bridge)
        veth.port(link, str(cable["name"]), wire, veth.AS_IT_IS)
    return taps


def restore(cable: dict[str, Any]) -> None:
    """Put the cable back to its bridge, and remove what stood between them."""
    with veth.netlink() as link:
        if veth.exists(str(cable["name"])):
            veth.port(link, str(cable["name"]), str(cable["bridge"]), veth.AS_IT_IS)
        if veth.exists(str(cable["wire"])):
            veth.ask(link, str(cable["wire"]), veth.DELLINK, 0, veth.named(str(cable["wire"])))


def carry(wires: list[TapWire], node: int) -> None:
    """Carry frames until the process that keeps the node ends."""
    poll = select.poll()
    keeper = os.pidfd_open(node)
    poll.register(keeper, select.POLLIN)
    sources = {wire.tap: wire for wire in wires}
    for source in sources:
        poll.register(source, select.POLLIN)
    while True:
        now = time.monotonic()
        waits = [wait for wire in wires if (wait := wire.wait(now)) is not None]
        for file, _ in poll.poll(min(waits) * 1000 if waits else None):
            if file == keeper:
                return
            sources[file].read()
        for wire in wires:
            wire.arrived(time.monotonic())


def main(cable: dict[str, Any], ready: str = "", settings: str = "") -> int:
    """Be the wire, or put the cable back; 1 after a line that says why that fails."""
    try:
        if not ready:
            restore(cable)
            return 0
        ways = {"out": PLAIN, "in": PLAIN, **json.loads(settings)}
        node, net = connect(cable)
        Path(ready).touch()
        carry([TapWire(ways["out"], node, net), TapWire(ways["in"], net, node)], cable["node"])
        restore(cable)
    except OSError as error:
        print(f"{error.filename or 'netlink'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1]), *sys.argv[2:]))
