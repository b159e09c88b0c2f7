"""A tar stream ──> squashfs, without root: owners, modes, times, devices and attributes are those in the tar.

It is not compressed: all nodes read the file through the host's page cache, and guests are slow at unpacking.
"""

import os
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.base import environment, files, proc
from tasks.base.errors import CommandError, UserError

PLAIN = ("-noI", "-noD", "-noF", "-noX")
MODE = ("-root-mode", "755")
AS_ROOT = ("unshare", "--user", "--map-root-user")
DIRECTORY = (1, 8)  # inode types, basic and extended


def write(out: Path, fill: Callable[[tarfile.TarFile], None], epoch: int) -> None:
    """Write to `out` the file system of the tar that `fill` writes. The same tar gives the same bytes."""
    options = ["-quiet", "-no-progress", *PLAIN, *MODE, "-mkfs-time", str(epoch)]
    command = [*_as_root(), proc.need("sqfstar"), *options, str(out)]
    with tempfile.TemporaryFile() as log, files.explained(out):
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            env=environment.of_programs(),
        )  # fmt: skip
        assert process.stdin
        filled = False
        try:
            with tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                fill(tar)
                filled = True
            process.stdin.close()
        except BrokenPipeError:
            pass  # sqfstar may end at the tar's end mark, before it has read the padding behind that
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        if code or not filled:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()[-5:]
            raise CommandError(f"'{proc.quoted(command)}' failed with exit code {code}: {' '.join(lines)}")
        _settle_root(out, epoch)


def _as_root() -> Sequence[str]:
    """What to put before sqfstar so that it runs as root: the top directory belongs to whoever runs it.

    Empty where a user may not make a namespace: the disk is as good then, but its bytes differ.
    """
    if os.geteuid() == 0:
        return ()
    try:
        proc.run([*AS_ROOT, "true"])
    except UserError:
        return ()
    return AS_ROOT


def _settle_root(out: Path, epoch: int) -> None:
    """Give the top directory a fixed time: sqfstar 4.5 accepts an option for it, but ignores it.

    The offsets are those of the kernel's squashfs_fs.h. The inode table is not compressed.
    """
    with out.open("r+b") as file:
        head = file.read(96)
        (root,), (table,) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<Q", head, 64)
        at = table + (root >> 16) + 2 + (root & 0xFFFF)
        file.seek(at)
        (kind,) = struct.unpack("<H", file.read(2))
        if head[:4] != b"hsqs" or kind not in DIRECTORY:
            raise UserError(
                f"sqfstar wrote {out} in a form that is not known here",
                "install squashfs-tools 4.5 or 4.6, as Debian has it",
            )
        file.seek(at + 8)
        file.write(struct.pack("<I", epoch))
