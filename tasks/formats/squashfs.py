"""A tar stream ──> squashfs, without root: owners, modes, times, devices and attributes are those in the tar.

Not compressed: the file is read through the host's page cache by all nodes, and guests are slow at unpacking.
"""

import os
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.base import files, proc
from tasks.base.errors import CommandError, UserError

PLAIN = ("-noI", "-noD", "-noF", "-noX")
MODE = ("-root-mode", "755")
AS_ROOT = ("unshare", "--user", "--map-root-user")
DIRECTORY = (1, 8)  # inode types, basic and extended


def write(out: Path, fill: Callable[[tarfile.TarFile], None], epoch: int) -> None:
    """Let `fill` write the tar. The same tar gives the same bytes."""
    options = ["-quiet", "-no-progress", *PLAIN, *MODE, "-mkfs-time", str(epoch)]
    command = [*_as_root(), proc.need("sqfstar"), *options, str(out)]
    with tempfile.TemporaryFile() as log, files.explained(out):
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
        assert process.stdin
        broken = False
        try:
            with tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                fill(tar)
            process.stdin.close()
        except BrokenPipeError:
            broken = True
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        if code or broken:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()[-5:]
            raise CommandError(f"'{proc.quoted(command)}' failed with exit code {code}: {' '.join(said)}")
        _settle_root(out, epoch)


def _as_root() -> Sequence[str]:
    """What makes sqfstar think that it is root's: the top directory, and only that, belongs to who runs it.

    Nothing, where a user may not have a namespace: then the disk is as good, but has other bytes.
    """
    if os.geteuid() == 0:
        return ()
    try:
        proc.run([*AS_ROOT, "true"])
    except UserError:
        return ()
    return AS_ROOT


def _settle_root(out: Path, epoch: int) -> None:
    """Give the top directory a fixed time: sqfstar 4.5 takes an option for it, and does not use it.

    Places as in the kernel's squashfs_fs.h. The inode table is not compressed.
    """
    with out.open("r+b") as file:
        head = file.read(96)
        (root,), (table,) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<Q", head, 64)
        at = table + (root >> 16) + 2 + (root & 0xFFFF)
        file.seek(at)
        (kind,) = struct.unpack("<H", file.read(2))
        if head[:4] != b"hsqs" or kind not in DIRECTORY:
            raise UserError(f"sqfstar has written a file system of an unknown form to {out}")
        file.seek(at + 8)
        file.write(struct.pack("<I", epoch))
