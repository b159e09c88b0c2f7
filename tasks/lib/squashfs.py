"""A tar stream ──> squashfs, without root: owners, modes, times, devices and attributes are those in the tar.

Not compressed: the file is read through the host's page cache by all nodes, and guests are slow at unpacking.
"""

import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from tasks.lib import files, proc
from tasks.lib.errors import CommandError, UserError

PLAIN = ("-noI", "-noD", "-noF", "-noX")
DIRECTORY = (1, 8)  # inode types, basic and extended


def write(out: Path, fill: Callable[[tarfile.TarFile], None], epoch: int) -> None:
    """Let `fill` write the tar. The same tar gives the same bytes."""
    command = [proc.need("sqfstar"), "-quiet", "-no-progress", *PLAIN, "-mkfs-time", str(epoch), str(out)]
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


def _settle_root(out: Path, epoch: int) -> None:
    """Give the top directory mode 755 and a fixed time: sqfstar 4.5 has no working option for them.

    Places as in the kernel's squashfs_fs.h. The inode table is not compressed.
    """
    with out.open("r+b") as file:
        head = file.read(96)
        (root,), (table,) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<Q", head, 64)
        at = table + (root >> 16) + 2 + (root & 0xFFFF)
        file.seek(at)
        kind, _, uid, gid, _ = struct.unpack("<HHHHI", file.read(12))
        if head[:4] != b"hsqs" or kind not in DIRECTORY:
            raise UserError(f"sqfstar has written a file system of an unknown form to {out}")
        file.seek(at)
        file.write(struct.pack("<HHHHI", kind, 0o755, uid, gid, epoch))
