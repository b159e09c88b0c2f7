"""File capabilities for guests: the guest's tar does not know them, so a script in the guest sets them."""

import os
import shlex
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tasks.formats import tiny_programs

ATTRIBUTE = "security.capability"
PROGRAM = "usr/sbin/xc-setcap"


def of_file(path: Path) -> bytes | None:
    """The capabilities of a file in the kernel's binary form; None if it has none."""
    try:
        return os.getxattr(path, ATTRIBUTE, follow_symlinks=False)
    except OSError:  # none, or a file system without
        return None


def of_member(member: tarfile.TarInfo) -> bytes | None:
    """The same for an entry of a tar that GNU tar or bsdtar wrote with --xattrs."""
    value = member.pax_headers.get(f"SCHILY.xattr.{ATTRIBUTE}")
    return value.encode("utf-8", "surrogateescape") if value else None


def carriers(values: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    """The files that set these capabilities (by path) at each boot: a program, and a script for rcS.

    Returns content by path. If the script fails in the guest, `start` reports it.
    """
    if not values:
        return {}
    lines = [
        "#!/bin/sh",
        "# xc: sourced",
        "# Sets file capabilities, which the overlay's tar cannot carry.",
        '[ "$1" = start ] || exit 2',
        "failed=0",
    ]
    for path, value in sorted(values.items()):
        octal = "".join(f"\\{byte:03o}" for byte in value)
        place = shlex.quote("/" + path.removeprefix("./"))
        lines.append(
            f"printf '{octal}' | /{PROGRAM} {place} || {{ echo {place}: no capabilities; failed=1; }}"
        )
    lines.append("exit $failed")
    script = f"etc/init.d/01capabilities-{name.partition('@')[0]}.rc"
    return {PROGRAM: tiny_programs.set_capability(), script: ("\n".join(lines) + "\n").encode()}
