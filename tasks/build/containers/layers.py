"""Layers of container images: what is in the tar of one, checked and put in the form that overlayfs has.

A file that a layer removes is a device 0:0 there, a directory that it replaces has an attribute. A layer is
read twice, because the marks for both may stand behind what they change.
"""

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tasks.base.errors import UserError
from tasks.formats import compressed

REMOVED, OPAQUE = ".wh.", ".wh..wh..opq"
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


@dataclass
class _Survey:
    """What a first look at a layer finds."""

    last: dict[str, int]  # by name the number of its last entry: that one counts
    folders: dict[str, tarfile.TarInfo]
    opaque: set[str]  # directories that hide what is below them


def copy(blob: Path, below: str, out: tarfile.TarFile, epoch: int) -> None:
    """Write the layer's content to `out`, in the directory `below`."""
    try:
        seen = _survey(blob)
        there: set[str] = set()

        def folder(name: str) -> None:
            listed = seen.folders.get(name)
            entry = _rewritten(listed, name, below, blob) if listed else directory(f"{below}/{name}", epoch)
            entry.name = entry.name.rstrip("/")
            _put(out, entry, name in seen.opaque)
            there.add(name)

        folder("")
        with compressed.opened(blob) as source, tarfile.open(fileobj=source, mode="r|") as tar:
            for number, member in enumerate(tar):
                name = _plain_name(member.name, blob)
                if seen.last[name] != number:
                    continue
                for parent in [each for each in _parents(name, member.isdir()) if each not in there]:
                    folder(parent)
                if not member.isdir() and posixpath.basename(name) != OPAQUE:
                    content = tar.extractfile(member) if member.isreg() else None
                    _put(out, _rewritten(member, name, below, blob), False, content)
    except DAMAGED as error:
        raise _damaged(blob, str(error)) from error


def _survey(blob: Path) -> _Survey:
    seen = _Survey({}, {}, set())
    with compressed.opened(blob) as source, tarfile.open(fileobj=source, mode="r|") as tar:
        for number, member in enumerate(tar):
            name = _plain_name(member.name, blob)
            seen.last[name] = number
            if posixpath.basename(name) == OPAQUE:
                seen.opaque.add(posixpath.dirname(name))
            if member.isdir():
                seen.folders[name] = member
            else:
                seen.folders.pop(name, None)
    return seen


def _rewritten(member: tarfile.TarInfo, name: str, below: str, blob: Path) -> tarfile.TarInfo:
    folder, base = posixpath.split(name)
    if base.startswith(REMOVED):
        gone = tarfile.TarInfo(posixpath.join(below, folder, base.removeprefix(REMOVED)))
        gone.type, gone.devmajor, gone.devminor, gone.mode = tarfile.CHRTYPE, 0, 0, 0
        return gone
    new = tarfile.TarInfo(f"{below}/{name}")
    new.type = tarfile.REGTYPE if member.isreg() else member.type
    new.size = member.size if member.isreg() else 0
    new.mode, new.uid, new.gid = member.mode & 0o7777, member.uid, member.gid
    new.mtime = min(max(int(member.mtime), 0), LATEST)
    new.devmajor, new.devminor = member.devmajor, member.devminor
    new.linkname = f"{below}/{_plain_name(member.linkname, blob)}" if member.islnk() else member.linkname
    new.pax_headers = {
        key: value for key, value in sorted(member.pax_headers.items()) if key.startswith(ATTRIBUTES)
    }
    return new


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
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _damaged(blob, f"the path {name} leads out of it")
    return "/".join(parts)


def _parents(name: str, itself: bool) -> Iterator[str]:
    """The directories above, and with `itself` the name too."""
    parts = name.split("/") if itself else name.split("/")[:-1]
    for length in range(1, len(parts) + 1):
        yield "/".join(parts[:length])
