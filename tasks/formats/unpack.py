"""Tars and Debian packages -> files below a directory, without root; nothing in them leads out of it.

The files keep their modes, with all bits, and nothing else: owners, times and attributes are for who packs
the directory. Device nodes need root, so they are returned as values.
"""

import gzip
import lzma
import re
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import translate
from pathlib import Path
from typing import IO

from tasks.base import limits, proc
from tasks.base.errors import UserError
from tasks.formats import holes, inside

# Of no use in a guest: people read these files on the host.
DOCS = (
    "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian",
    "usr/share/bash-completion", "usr/share/doc-base", "usr/share/bug", "usr/share/menu", "usr/share/pixmaps",
    "usr/share/applications", "usr/share/gcc",
)  # fmt: skip
BLOCK = 1 << 20
DAMAGED = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile)

Devices = dict[str, tuple[str, int, int, str]]  # path -> c or b, major, minor, mode in octal


def debs(paths: Iterable[str | Path], into: Path, drop: Iterable[str] = ()) -> None:
    """Unpack .deb files into the directory `into`, without documentation and without the globs in `drop`.

    Several are unpacked at once, which is safe because no two Debian packages have the same file. Whose mode
    a directory gets must not depend on who came last: it is always 755.
    """
    globs = [translate(path.strip("/")).removesuffix(r"\Z") for path in (*DOCS, *drop)]
    dropped = re.compile("|".join(rf"(?:{glob})(?:/|\Z)" for glob in globs))
    with inside.Root(into) as root, ThreadPoolExecutor(limits.processors()) as pool:
        for _ in pool.map(lambda deb: _deb(deb, root, dropped), paths):
            pass


def _deb(path: str | Path, root: inside.Root, dropped: re.Pattern[str]) -> None:
    source = proc.pipe(["dpkg-deb", "--fsys-tarfile", str(path)], stdout=subprocess.PIPE)
    assert source.stdout
    problem = ""
    try:
        with tarfile.open(fileobj=source.stdout, mode="r|") as archive:
            _members(archive, root, lambda name: not dropped.match(name), folder_mode=0o755)
        while source.stdout.read(BLOCK):
            pass  # dpkg-deb would fail if nobody read what stands behind the end of the tar
    except DAMAGED as error:
        problem = str(error)
    finally:
        source.stdout.close()  # or dpkg-deb would wait for a reader
        code, reason = proc.finish(source)
    if code or problem:
        raise UserError(f"cannot unpack {path}: {reason.strip() or problem}")


def tar(source: Path, into: Path) -> Devices:
    """Unpack a tar of ours into the directory `into`; the device nodes that it has.

    A later entry replaces an earlier one. Raises UserError for a tar that cannot be unpacked as it is meant.
    """
    with tarfile.open(source) as archive, inside.Root(into) as root:
        return _members(archive, root, lambda name: True)


def stream(source: IO[bytes], into: Path) -> Devices:
    """As `tar`, of an open file."""
    with tarfile.open(fileobj=source) as archive, inside.Root(into) as root:
        return _members(archive, root, lambda name: True)


def source(tarball: Path, into: Path) -> None:
    """Unpack the one directory that is in a tar from outside, with the times of its files, into `into`."""
    try:
        with tarfile.open(tarball) as archive, inside.Root(into) as root:
            for member in archive:
                name = plain_name(member.name).partition("/")[2]
                if not name or member.isdev():
                    continue
                if member.islnk():
                    member.linkname = plain_name(member.linkname).partition("/")[2]
                put(archive, member, name, root)
                if member.isreg():
                    root.set_time(name, int(member.mtime))
    except DAMAGED as error:
        raise UserError(f"cannot unpack {tarball}: {error}") from error


def _members(
    archive: tarfile.TarFile, root: inside.Root, counts: Callable[[str], bool], folder_mode: int | None = None
) -> Devices:
    devices: Devices = {}
    for member in archive:
        name = plain_name(member.name)
        if name and counts(name):
            devices.pop(name, None)
            put(archive, member, name, root, folder_mode)
            if member.ischr() or member.isblk():
                kind = "c" if member.ischr() else "b"
                devices[name] = (kind, member.devmajor, member.devminor, f"{member.mode & 0o7777:o}")
    return devices


def put(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    name: str,
    root: inside.Root,
    folder_mode: int | None = None,
) -> None:
    """Put one member of a tar at `name`; for a device node, only the directories above it.

    Whoever builds can always read it, as root can: otherwise it could not be packed again.
    """
    mode = member.mode & 0o7777
    if member.isdir():
        root.directory(name, mode | 0o700 if folder_mode is None else folder_mode)
    elif member.issym():
        root.symlink(name, member.linkname)
    elif member.islnk():
        try:
            root.hard_link(name, plain_name(member.linkname))
        except FileNotFoundError:
            raise UserError(f"{name} is a hard link to {member.linkname}, which is not there") from None
    elif member.isfifo():
        root.fifo(name, mode | 0o400)
    elif member.isdev():
        root.make_room(name)
    else:
        with root.file(name, mode | 0o400) as out:
            write_content(archive, member, out)


def plain_name(name: str) -> str:
    """The path of a member without `.` and slashes that mean nothing; "" for the top."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def write_content(archive: tarfile.TarFile, member: tarfile.TarInfo, out: IO[bytes]) -> None:
    """Write what a regular file has; what the tar leaves out as zeros becomes holes."""
    content = archive.extractfile(member)
    assert content, "it is a regular file"
    length = holes.copy(content, out)
    if length != member.size:
        raise tarfile.ReadError(f"{member.name} has {length} bytes of {member.size}")
