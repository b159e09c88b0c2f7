"""A stream of a raw disk image ──> a qcow2 in which zeros take no room; checks of qcow2 files made by others.

Format: QEMU's docs/interop/qcow2.txt, version 3. `qemu-img convert` would need the whole raw image first.
"""

import struct
from array import array
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tasks.base.errors import UserError

MAGIC = b"QFI\xfb"
BITS = 16
CLUSTER = 1 << BITS  # bytes
ENTRIES = CLUSTER // 8  # of a table in one cluster
COUNTS = CLUSTER // 2  # reference counts in one cluster
COPIED = 1 << 63  # an entry whose cluster has one reference
HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
HEADER_LENGTH = 104
MOST = 64 << 40  # bytes of a disk; a header with more is damaged or malicious
ZERO = bytes(CLUSTER)
BATCH = 1 << 20  # bytes; the best size of what is written
NOTHING = bytes(BATCH)
DATA_FILE = 4  # incompatible feature: the data is in another file


class DiskWriter:
    """Writes a qcow2 from the bytes of the disk in order; complete once the `with` block has ended well."""

    def __init__(self, out: Path) -> None:
        self.size = 0  # bytes of the disk so far
        self._out = out
        self._rest = b""
        self._next = 1  # the cluster that is free; 0 is for the header
        self._tables: dict[int, array[int]] = {}

    def __enter__(self) -> Self:
        self._file: IO[bytes] = self._out.open("wb", buffering=0)
        self._file.seek(CLUSTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._file.close()

    def write(self, data: bytes) -> None:
        """The next bytes of the disk."""
        if self._rest:
            data = self._rest + data
        whole = len(data) - len(data) % CLUSTER
        self._rest = data[whole:]
        if whole == BATCH and data == NOTHING:  # the usual case, in one comparison
            self.size += whole
            return
        begin = None  # of a run of clusters that are not zero
        for at in range(0, whole, CLUSTER):
            empty = data[at : at + CLUSTER] == ZERO
            if empty and begin is not None:
                self._append(data[begin:at])
                begin = None
            elif not empty and begin is None:
                begin = at
            if not empty:
                self._enter((self.size + at) // CLUSTER, self._next + (at - (begin or 0)) // CLUSTER)
        if begin is not None:
            self._append(data[begin:whole])
        self.size += whole

    def _enter(self, guest: int, host: int) -> None:
        table = self._tables.setdefault(guest // ENTRIES, array("Q", bytes(CLUSTER)))
        table[guest % ENTRIES] = host * CLUSTER | COPIED

    def _append(self, data: bytes) -> int:
        """Write clusters at the end; the number of the first."""
        first = self._next
        padded = data + bytes(-len(data) % CLUSTER)
        view = memoryview(padded)
        while view:
            view = view[self._file.write(view) :]
        self._next += len(padded) // CLUSTER
        return first

    def _finish(self) -> None:
        size = self.size + len(self._rest)
        if self._rest:
            self.write(bytes(CLUSTER - len(self._rest)))
        self.size = size
        tables = {number: self._append(_big(table)) for number, table in sorted(self._tables.items())}
        guests = -(-size // CLUSTER)
        level1 = array("Q", bytes(8 * -(-guests // ENTRIES)))
        for number, cluster in tables.items():
            level1[number] = cluster * CLUSTER | COPIED
        at = self._append(_big(level1)) if level1 else self._append(ZERO)
        blocks, table = self._count()
        disk = -(-size // 512) * 512
        fields = (MAGIC, 3, 0, 0, BITS, disk, 0, len(level1), at * CLUSTER, table * CLUSTER)
        header = HEADER.pack(*fields, -(-blocks * 8 // CLUSTER), 0, 0, 0, 0, 0, 4, HEADER_LENGTH)
        self._file.seek(0)
        self._file.write(header + bytes(CLUSTER - len(header)))

    def _count(self) -> tuple[int, int]:
        """Write the reference counts, all 1, their own clusters too: how many blocks, and the table."""
        blocks = tables = 0
        while True:
            total = self._next + blocks + tables
            needed = -(-total // COUNTS)
            if (needed, -(-needed * 8 // CLUSTER)) == (blocks, tables):
                break
            blocks, tables = needed, -(-needed * 8 // CLUSTER)
        ones = array("H", [1]) * total
        first = self._append(_big(ones))
        places = array("Q", ((first + number) * CLUSTER for number in range(blocks)))
        return blocks, self._append(_big(places))


def _big(numbers: "array[int]") -> bytes:
    """In the byte order of the format."""
    numbers = numbers[:]
    numbers.byteswap()
    return numbers.tobytes()


def refuse(path: Path, what: str) -> None:
    """Raise UserError for a damaged qcow2, and for one that names other files, which a guest could read."""
    with path.open("rb") as file:
        head = file.read(HEADER_LENGTH)
    facts = header(head)
    if not facts or facts["version"] not in (2, 3) or not 9 <= facts["bits"] <= 21 or facts["disk"] > MOST:
        raise UserError(f"{what}: this qcow2 is damaged", "fetch or make it again")
    if facts["backing"]:
        raise UserError(
            f"{what}: this qcow2 needs a backing file, so it is not complete by itself",
            "make a complete one: qemu-img convert -O qcow2 OLD NEW",
        )
    if facts["crypt"] or facts["features"] & DATA_FILE:
        raise UserError(
            f"{what}: this qcow2 is encrypted, or has its data in another file",
            "make a complete one: qemu-img convert -O qcow2 OLD NEW",
        )


def header(head: bytes) -> Mapping[str, int]:
    """The fields of a qcow2 header that matter here; empty when `head` is no such header."""
    if not head.startswith(MAGIC) or len(head) < 72:
        return {}
    _, version, backing, _, bits, disk, crypt = struct.unpack_from(">4sIQIIQI", head)
    features = struct.unpack_from(">Q", head, 72)[0] if version >= 3 and len(head) >= 80 else 0
    return {
        "version": version,
        "backing": backing,
        "bits": bits,
        "disk": disk,
        "crypt": crypt,
        "features": features,
    }
