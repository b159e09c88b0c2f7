"""Whether a file is still what it was: its seal (hash, size, time) is compared, cheaply where that is enough.

A seal is made when a file was built, and kept in `workspace/seals`. While size and time of the file are those
of the seal, its content counts as unchanged; when one of them differs, the hash decides.
"""

import hashlib
import os
import stat
from pathlib import Path

from tasks.base import files, progress, sparse
from tasks.base.errors import UserError

CHANGED = "changed on the disk"
BLOCK = 1 << 16
_whole: set[tuple[str, int, int, int]] = set()  # what this process has hashed: name, inode, size, time


class DamagedContent(UserError):
    """Content from outside that changed on the disk. It was removed, so another run fetches it again."""


def seal(folder: Path, path: Path) -> None:
    """Note in `folder` what the file `path` holds now."""
    info = path.stat()
    facts = {
        "path": str(path), "sha256": files.sha256(path), "size": info.st_size, "mtime_ns": info.st_mtime_ns,
    }  # fmt: skip
    files.write_json(_place(folder, path), facts)


def seal_new(folder: Path, path: Path) -> None:
    """Seal a file that has no seal yet: one of an earlier version counts as it is."""
    if not _place(folder, path).is_file():
        seal(folder, path)


def fault(folder: Path, path: Path) -> str:
    """Why `path` is not what was sealed, as the end of a sentence; "" if it is, or never was sealed.

    A file that was only touched, or copied with its directory, gets a new seal.
    """
    facts = files.read_json(_place(folder, path))
    if "sha256" not in facts:
        return ""
    if not path.is_file():
        return "is not there any more"
    info = path.stat()
    if (facts.get("size"), facts.get("mtime_ns")) == (info.st_size, info.st_mtime_ns):
        return ""
    if facts.get("size") != info.st_size or facts["sha256"] != files.sha256(path):
        return CHANGED
    seal(folder, path)
    return ""


def is_whole(path: Path, sha256: str) -> bool:
    """Whether the file is there with this content. It is hashed when a process asks for it the first time."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            return False
        state = (str(path), info.st_ino, info.st_size, info.st_mtime_ns)
        if state not in _whole and files.sha256(path) != sha256:
            return False
    except OSError:
        return False
    _whole.add(state)
    return True


def has(path: Path, sha256: str, why: str = CHANGED) -> bool:
    """Whether a cache has this content at `path`, from where it may be fetched again.

    What is something else is removed, and a line says `why`, as the end of a sentence; "" says nothing.
    """
    if path.is_file() and not is_whole(path, sha256):
        if why:
            progress.say(f"{path} {why}; it is fetched again")
        path.unlink()
    return path.is_file()


def sparse_digest(path: Path) -> str:
    """A sha256 of the content of a large file, in hex: of its blocks that are not zero, with their places.

    A hole costs nothing, and counts as the zeros that a copy may have in its place.
    """
    digest, zeros = hashlib.sha256(), bytes(BLOCK)
    with path.open("rb") as file:
        digest.update(os.fstat(file.fileno()).st_size.to_bytes(8, "big"))
        after = 0  # the last block that was looked at: two pieces of data may share one
        for begin, end in sparse.extents(file.fileno()):
            for at in range(max(begin // BLOCK * BLOCK, after), end, BLOCK):
                block = os.pread(file.fileno(), BLOCK, at)
                if block != zeros[: len(block)]:
                    digest.update(at.to_bytes(8, "big"))
                    digest.update(block)
                after = at + BLOCK
    return digest.hexdigest()


def content(path: Path, sha256: str, what: str) -> Path:
    """`path`, if it has the content that its name says.

    Otherwise it is removed, so that what keeps it fetches it again, and DamagedContent is raised. `what` is
    its name for people.
    """
    if is_whole(path, sha256):
        return path
    was = CHANGED if path.exists() else "is not there any more"
    files.remove(path)
    raise DamagedContent(f"{what} {was} ({path})", "run it again: it is fetched anew")


def _place(folder: Path, path: Path) -> Path:
    """The seal of a file. It knows the way from one to the other, so that a workspace can be moved."""
    return folder / f"{files.digest(os.path.relpath(path, folder))[:32]}.json"
