"""Trees of files for images and overlays: lays them over each other, writes tars, adopts tars of others.

Nothing here needs root: the trees on disk keep no owners, and in a tar every owner is 0.
"""

import contextlib
import gzip
import io
import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, cast

from tasks.base.errors import UserError
from tasks.formats import capabilities, compressed, descent, holes, inside

LABEL = b"V"  # the name of a tar itself, as `tar --label` writes it
KINDS = {
    *tarfile.REGULAR_TYPES, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
    tarfile.CHRTYPE, tarfile.BLKTYPE,
}  # fmt: skip

Device = tuple[str, int, int, str]  # c or b, major and minor number, mode in octal


def lay_over(source: Path, target: Path) -> dict[str, bytes]:
    """Copy the tree `source` over the tree `target`: links stay, modes become 755 or 644, setuid is kept.

    A link to a directory in `target` stands for that directory, as it would in a guest. Returns the
    capabilities of files by path, because only root could set them in the copy. Raises UserError for anything
    that is neither a file, a directory nor a symbolic link, and for what cannot be read.
    """
    linked: dict[tuple[int, int], str] = {}
    capable: dict[str, bytes] = {}
    target.mkdir(exist_ok=True)
    with inside.Root(target) as root, _readable(source):
        for folder, folders, names in os.walk(source, onerror=_refuse):
            here = os.path.relpath(folder, source)
            sticky = os.lstat(folder).st_mode & stat.S_ISVTX  # writable for everybody, as /tmp is
            root.directory(here, 0o1777 if sticky else None)
            folders.sort()
            for name in sorted(names) + [
                name for name in folders if os.path.islink(os.path.join(folder, name))
            ]:
                path = Path(folder, name)
                place = os.path.normpath(os.path.join(here, name))
                try:
                    _put(path, root, place, linked)
                except inside.Occupied:
                    raise UserError(f"{path} is a file, but it would replace the directory {place}") from None
                value = capabilities.of_file(path)
                if value:
                    capable[os.path.relpath(path, source)] = value
    return capable


def _refuse(error: OSError) -> None:
    raise error


@contextlib.contextmanager
def _readable(source: Path) -> Iterator[None]:
    """What cannot be read in a user's tree is for the user to change."""
    try:
        yield
    except (PermissionError, FileNotFoundError) as error:
        if not error.filename or not Path(error.filename).is_relative_to(source):
            raise
        if isinstance(error, PermissionError):
            raise UserError(
                f"{error.filename} cannot be read: {error.strerror}", f"chmod -R u+rX {source}, or remove it"
            ) from error
        raise UserError(f"{error.filename} was removed while it was copied", "build again") from error


def unmerge(path: Path) -> None:
    """Link a C library in usr/lib into lib too, so that a guest finds it before its own, which is in lib.

    Debian moved the library with trixie: programs of that suite and of newer ones would otherwise load the
    older library of the base image.
    """
    libraries, beside = "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"
    with inside.Root(path) as root:
        if not root.is_file(f"{libraries}/libc.so.6"):
            return
        root.directory(beside)
        for name in root.names(libraries):
            if (
                ".so" in name
                and root.is_file(f"{libraries}/{name}")
                and not root.is_taken(f"{beside}/{name}")
            ):
                root.hard_link(f"{beside}/{name}", root.real(f"{libraries}/{name}"))


def put_file(source: Path, root: inside.Root, path: str, executable: bool) -> None:
    """Copy one file to `path` of a tree."""
    with source.open("rb") as content, root.file(path, 0o755 if executable else 0o644) as out:
        holes.copy(content, out)


def put_files(content: Mapping[str, bytes], path: Path) -> None:
    """Write programs and scripts into the tree at `path`."""
    with inside.Root(path) as root:
        for name, data in content.items():
            with root.file(name, 0o755) as out:
                out.write(data)


def _put(source: Path, root: inside.Root, path: str, linked: dict[tuple[int, int], str]) -> None:
    """Copy one file or link; a file that has several names in the tree stays one file."""
    info = source.lstat()
    if stat.S_ISLNK(info.st_mode):
        root.symlink(path, os.readlink(source))
    elif not stat.S_ISREG(info.st_mode):
        raise UserError(
            f"{source} is neither a file, a directory nor a symbolic link",
            "make pipes and devices in the guest, by a script in etc/init.d",
        )
    elif (info.st_dev, info.st_ino) in linked:
        root.hard_link(path, linked[info.st_dev, info.st_ino])
    else:
        special = info.st_mode & (stat.S_ISUID | stat.S_ISGID)
        mode = (0o755 if info.st_mode & stat.S_IXUSR else 0o644) | special
        with source.open("rb") as content, root.file(path, mode) as out:
            before = os.fstat(content.fileno())
            holes.copy(content, out)
            after = os.fstat(content.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise UserError(f"{source} was changed while it was copied", "build again")
        if info.st_nlink > 1:
            linked[info.st_dev, info.st_ino] = path


def write_tar(root: Path, out: Path, epoch: int, devices: Mapping[str, Device] = MappingProxyType({})) -> int:
    """Write the tree `root` as a tar; the same tree gives the same bytes. Returns the number of entries.

    `devices` are device nodes by path, which only root could make in a tree.
    """
    paths = sorted(root.rglob("*"), key=lambda path: path.relative_to(root).parts)
    with _new_tar(out) as tar:
        for path in paths:
            entry = _plain(tar.gettarinfo(path, str(path.relative_to(root))), epoch)
            if entry.isreg():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
        for name, (kind, major, minor, mode) in sorted(devices.items()):
            node = tarfile.TarInfo(name)
            node.type = tarfile.CHRTYPE if kind == "c" else tarfile.BLKTYPE
            node.devmajor, node.devminor, node.mode, node.mtime = major, minor, int(mode, 8), epoch
            tar.addfile(node)
    return len(paths) + len(devices)


@contextlib.contextmanager
def _new_tar(out: Path) -> Iterator[tarfile.TarFile]:
    """A tar to write, in which zeros take no room on the disk."""
    with out.open("wb") as file:
        sink = cast(IO[bytes], holes.HolesWriter(file))
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as tar:
            tar.copybufsize = holes.BLOCK  # type: ignore[attr-defined]
            yield tar


def _plain(entry: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    """The same entry without owner, time and attributes; how its tar stored it does not matter."""
    new = tarfile.TarInfo(entry.name)
    new.type = tarfile.REGTYPE if entry.isreg() else entry.type
    new.size = entry.size if entry.isreg() else 0
    new.mode, new.linkname, new.mtime = entry.mode, entry.linkname, epoch
    new.devmajor, new.devminor = entry.devmajor, entry.devminor
    return new


def _add(tar: tarfile.TarFile, path: str, data: bytes, epoch: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.mtime = len(data), 0o755, epoch
    tar.addfile(entry, io.BytesIO(data))


def _check_member(member: tarfile.TarInfo, what: str) -> None:
    """Raise UserError for a path, or the target of a hard link, that is outside of the tree or impossible."""
    for name in (member.name, *([member.linkname] if member.islnk() else [])):
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{what}: the path {name} leads out of the tree", _inside(name))
        descent.check(name)
    if member.issym():
        descent.check_target(member.name, member.linkname)
    if member.type not in KINDS:
        raise UserError(
            f"{what}: {member.name} is of a kind that guests cannot unpack: {ascii(member.type)[1:]}",
            "write a tar of files, directories, links, pipes and devices",
        )


def _inside(path: str) -> str:
    """How a tar is written in which this path is inside of the tree."""
    if not path.startswith("/"):
        return "write the tar with paths that begin at the root of the guest: tar -C DIR -cf FILE ."
    return "write the tar without absolute paths: without -P (--absolute-names), or by: tar -C DIR -cf FILE ."


def adopt_tar(
    source: Path, out: Path, what: str, epoch: int, *, name: str = "tar", allow_empty: bool = False
) -> int:
    """Rewrite a tar that somebody else made with owner 0 and one time; the order of its entries is kept.

    Any compression that tarfile knows is undone. File capabilities become a script in the new tar, whose name
    contains `name`. Returns the number of entries. Raises UserError when the tar is damaged or empty, or has
    a path that leads out of the tree.
    """
    count = 0
    capable: dict[str, bytes] = {}
    try:
        with tarfile.open(source) as tar, _new_tar(out) as new:
            for member in tar:
                if member.type == LABEL:
                    continue
                _check_member(member, what)
                new.addfile(_plain(member, epoch), tar.extractfile(member) if member.isreg() else None)
                count += member.name not in (".", "./")
                value = capabilities.of_member(member)
                capable |= {member.name: value} if value else {}
            while tar.fileobj and tar.fileobj.read(1 << 20):
                pass  # the checksum of a compressed file stands at its end
            for path, data in capabilities.carriers(capable, name).items():
                _add(new, path, data, epoch)
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        if source.stat().st_size:
            raise UserError(f"{what}: {compressed.tar_fault(error)}") from error
    if not count and not allow_empty:
        raise UserError(
            f"{what}: the tar is empty", "if that is intended, put `allow_empty: true` into its ovl.yaml"
        )
    return count
