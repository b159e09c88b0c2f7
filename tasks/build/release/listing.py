"""What is inside of a directory, a tar, an ISO or a disk: one listing for all, so that two can be compared.

Times are left out, for they are the same in all that is built here. What is a container itself and was only
found inside of another one is kept in a scratch directory, to be looked into.
"""

import hashlib
import lzma
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.base import files, proc
from tasks.base.errors import CommandError, UsageError
from tasks.formats import iso9660

XZ, QCOW2 = b"\xfd7zXZ\0", b"QFI\xfb"
NESTED = (".tar", ".tgz", ".xz", ".iso", ".img", ".qcow2", ".gz")  # the names of what may be looked into
DAMAGE = (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, CommandError)
_TOP = re.compile(r"xcluster-[^/]+")


@dataclass(frozen=True)
class Item:
    """One entry of a container."""

    kind: str  # file, directory, link, device, other
    mode: int = 0
    owner: str = "0:0"
    target: str = ""  # of a link
    sha256: str = ""
    size: int = 0  # bytes
    copy: Path | None = None  # a file with its content, where it may be a container itself


Listing = dict[str, Item]


def kind_of(path: Path) -> str:
    """directory, tar, xz (one compressed file), qcow2, ext4, iso, or "" for a plain file."""
    if path.is_dir():
        return "directory"
    with path.open("rb") as file:
        head = file.read(2048)
        file.seek(0x8001)
        descriptor = file.read(5)
    if head.startswith(QCOW2):
        return "qcow2"
    if head[1080:1082] == b"\x53\xef":
        return "ext4"
    if descriptor == b"CD001":
        return "iso"
    if head.startswith(XZ):
        return "tar" if _is_tar(path) else "xz"
    return "tar" if _is_tar(path) else ""


def look(path: Path, scratch: Path) -> Listing:
    """Everything in the container `path`; copies of containers in it go to the directory `scratch`.

    Raises UsageError when it is damaged.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    kind = kind_of(path)
    try:
        if kind == "directory":
            return _directory(path)
        if kind == "tar":
            return _tar(path, scratch)
        if kind == "iso":
            return _iso(path, scratch)
        if kind == "xz":
            return {"": _keep(lzma.open(path), scratch, always=True)}
        return _disk(path, scratch, kind)
    except DAMAGE as error:
        raise UsageError(f"{path} is damaged: {error}") from error


def _is_tar(path: Path) -> bool:
    try:
        with tarfile.open(path) as tar:
            return tar.next() is not None or path.stat().st_size % 512 == 0 and path.stat().st_size > 0
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError):
        return False


def _directory(root: Path) -> Listing:
    listing: Listing = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        plain = stat.S_ISREG(info.st_mode)
        listing[_unversioned(str(path.relative_to(root)))] = Item(
            _kind(info.st_mode),
            stat.S_IMODE(info.st_mode),
            f"{info.st_uid}:{info.st_gid}",
            os.readlink(path) if path.is_symlink() else "",
            files.sha256(path) if plain else "",
            info.st_size if plain else 0,
            path if plain else None,
        )
    return listing


def _tar(path: Path, scratch: Path) -> Listing:
    listing: Listing = {}
    # Not as a stream: an xz file of an earlier version has several, of which tarfile would read the first.
    with tarfile.open(path) as tar:
        for member in tar:
            name = member.name.removeprefix("./").strip("/")
            bits = {
                tarfile.SYMTYPE: stat.S_IFLNK,
                tarfile.DIRTYPE: stat.S_IFDIR,
                tarfile.CHRTYPE: stat.S_IFCHR,
            }
            content = tar.extractfile(member) if member.isreg() else None
            kept = _keep(content, scratch, name.endswith(NESTED)) if content else Item("file")
            kind = "file" if member.isreg() or member.islnk() else _kind(bits.get(member.type, 0))
            target = member.linkname if member.issym() or member.islnk() else ""
            if member.isdev():
                target = f"{member.devmajor},{member.devminor}"
            owner = f"{member.uid}:{member.gid}"
            if name not in ("", "."):
                listing[name] = Item(kind, member.mode, owner, target, kept.sha256, kept.size, kept.copy)
    tops = {name.split("/")[0] for name in listing}
    top = min(tops, default="")
    if len(tops) == 1 and _TOP.fullmatch(top):  # a release: its version is not a difference of every file
        return {name.removeprefix(f"{top}/"): item for name, item in listing.items() if name != top}
    return listing


def _iso(path: Path, scratch: Path) -> Listing:
    listing: Listing = {}
    for name, mode, link, content in iso9660.contents(path):
        kept = Item("")
        if stat.S_ISREG(mode):
            kept = _keep(iter([content]), scratch, name.endswith(NESTED))
        listing[name] = Item(
            _kind(mode), stat.S_IMODE(mode), "0:0", link or "", kept.sha256, kept.size, kept.copy
        )
    return listing


def _disk(path: Path, scratch: Path, kind: str) -> Listing:
    """An ext4 file system, by debugfs: owners and modes from its listings, content from a copy."""
    raw, tree = scratch / "raw", scratch / "tree"
    if kind == "qcow2":
        proc.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw])
        if kind_of(raw) != "ext4":
            return {"": _keep(_blocks(raw.open("rb")), scratch, always=False)}
    else:
        raw.symlink_to(path.resolve())
    items: dict[str, Item] = {}
    left = ["/"]
    while left:
        (scratch / "commands").write_text("".join(f'ls -p "{folder}"\n' for folder in left))
        output = _debugfs(scratch, "-f", "commands")
        if "/./" not in output:
            raise ValueError("it has no readable root directory")
        below = dict(_listed(output))
        items |= below
        left = [f"/{name}" for name, item in below.items() if item.kind == "directory"]
    tree.mkdir()
    _debugfs(scratch, "-R", "rdump / tree")  # not before all names have been looked at: they are paths here
    return {name: _with_content(item, tree / name) for name, item in items.items()}


def _debugfs(scratch: Path, *words: str) -> str:
    """What debugfs says of the file system `raw`; paths are relative, for it does not take every sign."""
    return proc.run(["debugfs", *words, "raw"], env={"DEBUGFS_PAGER": "cat"}, cwd=scratch)


def _listed(output: str) -> Iterator[tuple[str, Item]]:
    """The entries that `ls -p` told: /inode/mode/uid/gid/name/size/.

    ValueError for a name that debugfs would take for more than a name.
    """
    folder = ""
    for line in output.splitlines():
        if line.startswith("debugfs: ls -p "):
            folder = line.removeprefix("debugfs: ls -p ").strip('"').lstrip("/")
            continue
        if " while " in line and not line.startswith("/"):
            raise ValueError(line)
        fields = line.split("/")
        if not line.strip() or line.startswith("debugfs "):  # its version
            continue
        if len(fields) != 8 or fields[0] or fields[7] or '"' in fields[5]:
            raise ValueError(f"it has a name that cannot be listed: {line!r}")
        if fields[5] in (".", "..", "") or not fields[2]:
            continue
        mode = int(fields[2], 8)
        name = f"{folder}/{fields[5]}".lstrip("/")
        yield name, Item(_kind(mode), stat.S_IMODE(mode), f"{fields[3]}:{fields[4]}")


def _with_content(item: Item, path: Path) -> Item:
    """`item` with what the copy of the tree has."""
    if item.kind == "link":
        return Item("link", item.mode, item.owner, os.readlink(path))
    if item.kind != "file" or not path.is_file():
        return item
    if not os.access(path, os.R_OK):
        path.chmod(0o600)
    return Item("file", item.mode, item.owner, "", files.sha256(path), path.stat().st_size, path)


def _keep(blocks: IO[bytes] | Iterator[bytes], scratch: Path, always: bool) -> Item:
    """The hash and size of a content, and a copy where it may be looked into."""
    digest, size = hashlib.sha256(), 0
    temp = scratch / ".new"
    with temp.open("wb") as out:
        for block in _blocks(blocks) if hasattr(blocks, "read") else blocks:  # type: ignore[arg-type]
            digest.update(block)
            size += len(block)
            if always:
                out.write(block)
    copy = scratch / digest.hexdigest()
    if always:
        temp.rename(copy)
    return Item("file", 0, "0:0", "", digest.hexdigest(), size, copy if always else None)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    kinds |= {stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(mode), "other")


def _unversioned(name: str) -> str:
    """The main archive of two releases is the same file."""
    return "xcluster.tar.xz" if re.fullmatch(r"xcluster-[^/]+\.tar\.xz", name) else name
