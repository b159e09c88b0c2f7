"""Every frame that passes the outer end of a container's cable, both ways, as pcap.

    python veth_dump.py NAME FILE PID...

Ends when one of the processes does, or with SIGTERM. Frames are as the interface gets them: larger than its
MTU where they are split later, and checksums may still be missing. Runs by itself, in the network namespace
of the cluster, on the standard library alone.
"""

import contextlib
import os
import select
import signal
import socket
import struct
import sys
from typing import IO

EVERYTHING = 3  # ETH_P_ALL
PACKET, AUXDATA = 263, 8  # SOL_PACKET, PACKET_AUXDATA
TIMESTAMP = 35  # SO_TIMESTAMPNS
VLAN_VALID, TPID_VALID = 1 << 4, 1 << 6  # TP_STATUS_*
DATA = struct.Struct("=IIIHHHH")  # tpacket_auxdata
MAC, TAG = 12, b"\x81\x00"
LONGEST = 1 << 18
BUFFER = 8 << 20  # bytes that may wait for us
AT_ONCE = 256  # frames between two looks at the processes
PAUSE = 500  # ms between two looks whether the interface was made anew
HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, LONGEST, 1)


def listening(name: str) -> socket.socket:
    """A socket that gets the frames of an interface. Raises OSError."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    link.setsockopt(PACKET, AUXDATA, 1)
    link.setsockopt(socket.SOL_SOCKET, TIMESTAMP, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    link.setblocking(False)
    link.bind((name, EVERYTHING))
    return link


def record(link: socket.socket) -> bytes:
    """The next frame as a record of a pcap. Raises OSError when there is none, or the interface is down."""
    frame, notes, *_ = link.recvmsg(LONGEST, 256)
    seconds = nanoseconds = 0
    for level, kind, data in notes:
        if level == socket.SOL_SOCKET and kind == TIMESTAMP:
            seconds, nanoseconds = struct.unpack("=qq", data[:16])
        elif level == PACKET and kind == AUXDATA:
            status, _length, _snap, _mac, _net, tag, protocol = DATA.unpack(data[: DATA.size])
            if status & VLAN_VALID:  # the kernel has taken it out
                ethertype = struct.pack(">H", protocol) if status & TPID_VALID else TAG
                frame = frame[:MAC] + ethertype + struct.pack(">H", tag) + frame[MAC:]
    return struct.pack("=IIII", seconds, nanoseconds // 1000, len(frame), len(frame)) + frame


def drain(link: socket.socket, file: IO[bytes]) -> None:
    """Write what has come."""
    with contextlib.suppress(OSError):
        for _ in range(AT_ONCE):
            file.write(record(link))
    file.flush()


def capture(name: str, file: IO[bytes], processes: list[int]) -> None:
    """Write frames until one of the processes ends. A node that reboots gets another interface."""
    link, index = listening(name), socket.if_nametoindex(name)
    file.write(HEADER)
    file.flush()
    ends = [os.pidfd_open(process) for process in processes]
    while not select.select(ends, [], [], 0)[0]:
        poll = select.poll()
        for each in (link.fileno(), *ends):
            poll.register(each, select.POLLIN)
        poll.poll(PAUSE)
        drain(link, file)
        with contextlib.suppress(OSError):
            if socket.if_nametoindex(name) != index:
                fresh, index = listening(name), socket.if_nametoindex(name)
                link.close()
                link = fresh
    drain(link, file)


def _end(*_: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    try:
        with open(sys.argv[2], "wb") as output:
            capture(sys.argv[1], output, [int(word) for word in sys.argv[3:]])
    except OSError as failure:
        print(f"{failure.filename or sys.argv[1]}: {failure.strerror}", file=sys.stderr)
        raise SystemExit(1) from None
