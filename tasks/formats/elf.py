"""Reads and changes the loader that a program names, and lists the libraries that the program would load.

The loader itself resolves them (`ld.so --list`), so the answer is what a run of the program would get.
"""

import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path

from tasks.base import proc
from tasks.base.errors import CommandError

LOADER = "/lib64/ld-linux-x86-64.so.2"
PT_DYNAMIC, PT_INTERP = 2, 3
X86_64 = 62
MACHINES = {3: "x86 (32 bits)", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 183: "aarch64", 243: "riscv"}
_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_FOUND = re.compile(r"=> (/.*) \(0x[0-9a-f]+\)$")
_VERSION = re.compile(rb"release version (\d+\.\d+)")


def foreign(path: Path) -> str:
    """The machine of a program that is not for x86-64; "" for a program for x86-64 and for any other file."""
    with path.open("rb") as file:
        head = file.read(20)
    if len(head) < 20 or not head.startswith(_MAGIC[:4]) or (head.startswith(_MAGIC) and head[18] == X86_64):
        return ""
    (machine,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
    return MACHINES.get(machine, f"machine {machine}")


def segments(path: Path) -> dict[int, tuple[int, int]]:
    """The program headers of a file by type: (offset, size) in bytes. Empty if it is not for x86-64."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if len(head) < 64 or not head.startswith(_MAGIC) or head[18] != X86_64:
                return {}
            offset, size, count = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54)
            file.seek(offset)
            table = file.read(size * count)
    except OSError:
        return {}
    rows = [table[at : at + size] for at in range(0, len(table), size)] if size >= 56 else []
    return {
        struct.unpack_from("<I", row)[0]: (
            struct.unpack_from("<Q", row, 8)[0],
            struct.unpack_from("<Q", row, 32)[0],
        )
        for row in rows
        if len(row) >= 56
    }


def is_dynamic(path: Path) -> bool:
    """Whether a file is a program or library that the loader resolves libraries for."""
    return PT_DYNAMIC in segments(path)


def interpreter(path: Path) -> str:
    """The loader that a program asks for; "" when it asks for none."""
    place = segments(path).get(PT_INTERP)
    if not place:
        return ""
    with path.open("rb") as file:
        file.seek(place[0])
        return file.read(place[1]).rstrip(b"\0").decode(errors="replace")


def set_interpreter(path: Path, loader: str) -> None:
    """Make a program ask for `loader`, which must not be a longer path than the one it asks for now."""
    offset, size = segments(path)[PT_INTERP]
    value = os.fsencode(loader)
    if len(value) >= size:
        raise ValueError(f"{loader} is too long for {path}")
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(value.ljust(size, b"\0"))


def libraries(path: Path, env: Mapping[str, str] | None = None) -> list[str]:
    """Absolute paths of the libraries that `path` needs, in the loader's order, without missing ones.

    Empty if the file is no dynamic program or library.
    """
    if not is_dynamic(path):
        return []
    try:
        listing = proc.output([LOADER, "--list", str(path.absolute())], env=env)
    except CommandError:  # it was made for another loader
        return []
    matches = (_FOUND.search(line) for line in listing.decode(errors="replace").splitlines())
    return [match.group(1) for match in matches if match and match.group(1) != LOADER]


def glibc(libc: Path) -> str:
    """The version in a libc.so.6, as 2.36; "" when there is none."""
    match = _VERSION.search(libc.read_bytes()) if libc.is_file() else None
    return match.group(1).decode() if match else ""
