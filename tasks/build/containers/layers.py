"""Layers of container images: what is in the tar of one, checked and put in the form that overlayfs has.

A file that a layer removes is a device 0:0 there, a directory that it replaces has an attribute. A layer is
read twice, because the marks for both may stand behind what they change.
"""

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tasks.base.errors import UserError
from tasks.build.containers.layer_tree import LayerTree, parents
from tasks.formats import compressed, descent, unpack

OPAQUE_MARK = "SCHILY.xattr.trusted.overlay.opaque"
ATTRIBUTES = ("SCHILY.xattr.user.", "SCHILY.xattr.trusted.", "SCHILY.xattr.security.capability")
LATEST = 2**32 - 1
DAMAGED = (tarfile.TarError, *compressed.DAMAGED)


class _Hashed(io.RawIOBase):
    """What is read from `source`, with its hash and length."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.hash = hashlib.sha256()
        self.length = 0

    def read(self, size: int = -1) -> bytes:
        """As any file."""
        data = self._source.read(size)
        self.hash.update(data)
        self.length += len(data)
        return data


def check(blob: Path, diff_id: str) -> int:
    """Bytes of the layer's tar; UserError when it is not the one that the image's config names."""
    try:
        with compressed.opened(blob) as source:
            hashed = _Hashed(source)
            while hashed.read(1 << 20):
                pass
    except DAMAGED as error:
        raise _damaged(blob, str(error)) from error
    actual = f"sha256:{hashed.hash.hexdigest()}"
    if actual != diff_id:
        raise _damaged(blob, f"its content has {actual}, the image says {diff_id}")
    return hashed.length


def _damaged(blob: Path, why: str) -> UserError:
    return UserError(
        f"the layer {blob.name[:12]} is damaged: {why}", f"remove it, and it is fetched again: rm {blob}"
    )


@dataclass(frozen=True)
class Layer:
    """A layer, looked through once; `below` are the layers below it, the next one first."""

    blob: Path
    tree: LayerTree
    below: "tuple[Layer, ...]" = ()


def look(blob: Path, below: Sequence[Layer] = ()) -> Layer:
    """Look through a layer. UserError when it is damaged."""
    tree = LayerTree(below[0].tree.all_links() if below else {})
    with _members(blob) as members:
        for number, (_, member) in enumerate(members):
            target = _plain_name(member.linkname, blob) if member.islnk() else ""
            tree.add(number, member, _plain_name(member.name, blob), target)
    tree.finish()
    return Layer(blob, tree, tuple(below))


@contextmanager
def _members(blob: Path) -> Iterator[Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]]:
    """The entries of a layer in order; none of a layer of no bytes."""
    try:
        with compressed.opened(blob) as source:
            first = source.read(1)
        with compressed.opened(blob) as source:
            if not first:
                yield iter(())
                return
            with tarfile.open(fileobj=source, mode="r|") as tar:
                yield ((tar, member) for member in tar)
    except DAMAGED as error:
        raise _damaged(blob, str(error)) from error


def copy(layer: Layer, below: str, out: tarfile.TarFile, epoch: int) -> None:
    """Write the layer's content to `out`, in the directory `below`: hard links and what is removed last."""
    tree, there = layer.tree, set[str]()

    def folder(path: str) -> None:
        for each in ("", *parents(path)):
            if each not in there:
                listed = tree.folders.get(each)
                place = f"{below}/{each}".rstrip("/")
                entry = _rewritten(listed, place) if listed else directory(place, epoch)
                _put(out, entry, each in tree.opaque)
                there.add(each)

    folder("")
    counts = {number: path for path, number in tree.entries.items() if path not in tree.hard}
    with _members(layer.blob) as members:
        for number, (tar, member) in enumerate(members):
            if number in counts:
                folder(posixpath.dirname(counts[number]))
                _put_member(out, tar, member, f"{below}/{counts[number]}")
    for path in sorted(tree.folders):
        folder(path)
    for path, target in tree.hard.items():
        folder(posixpath.dirname(path))
        if target in tree.entries and target not in tree.hard:
            _put(out, _special(f"{below}/{path}", tarfile.LNKTYPE, f"{below}/{target}"), False)
        else:
            _borrow(layer, target, f"{below}/{path}", out)
    for path in sorted(tree.removed):
        folder(posixpath.dirname(path))
        _put(out, _special(f"{below}/{path}", tarfile.CHRTYPE), False)


def _borrow(layer: Layer, path: str, place: str, out: tarfile.TarFile) -> None:
    """A hard link to a file of a layer below: two layers cannot share a file, so this one gets a copy."""
    for lower in layer.below:
        path = lower.tree.hard.get(path, path)
        if path not in lower.tree.entries:
            continue
        with _members(lower.blob) as members:
            for number, (tar, member) in enumerate(members):
                if number == lower.tree.entries[path]:
                    _put_member(out, tar, member, place)
                    return
    raise _damaged(layer.blob, f"it has a hard link to {path}, which is not there")


def _put_member(out: tarfile.TarFile, tar: tarfile.TarFile, member: tarfile.TarInfo, place: str) -> None:
    _put(out, _rewritten(member, place), False, tar.extractfile(member) if member.isreg() else None)


def _rewritten(member: tarfile.TarInfo, place: str) -> tarfile.TarInfo:
    """The entry of a file, link, device or directory."""
    if member.issym():
        descent.check_target(member.name, member.linkname)
    new = tarfile.TarInfo(place)
    new.type = tarfile.REGTYPE if member.isreg() else member.type
    new.size = member.size if member.isreg() else 0
    new.mode, new.uid, new.gid = member.mode & 0o7777, member.uid, member.gid
    new.mtime = min(max(int(member.mtime), 0), LATEST)
    new.devmajor, new.devminor = member.devmajor, member.devminor
    new.linkname = member.linkname
    new.pax_headers = {
        key: value for key, value in sorted(member.pax_headers.items()) if key.startswith(ATTRIBUTES)
    }
    return new


def _special(place: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A hard link, or the device 0:0 that stands for what is removed."""
    entry = tarfile.TarInfo(place)
    entry.type, entry.linkname, entry.mode = kind, target, 0
    return entry


def directory(path: str, epoch: int) -> tarfile.TarInfo:
    """The entry of a directory of root's."""
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, epoch
    return entry


def _put(out: tarfile.TarFile, entry: tarfile.TarInfo, opaque: bool, content: Any = None) -> None:
    if opaque:
        entry.pax_headers = {**entry.pax_headers, OPAQUE_MARK: "y"}
    out.addfile(entry, content)


def _plain_name(name: str, blob: Path) -> str:
    plain = unpack.plain_name(name)
    if ".." in plain.split("/"):
        raise _damaged(blob, f"the path {name} leads out of it")
    try:
        descent.check(plain)
    except UserError as error:
        raise _damaged(blob, str(error)) from error
    return plain
