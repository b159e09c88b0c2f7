"""An initramfs (cpio, format newc): equal entries give equal bytes. Format: kernel's buffer-format.rst."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

DIRECTORY, FILE, LINK, CHAR = 0o040755, 0o100644, 0o120777, 0o020600


@dataclass(frozen=True)
class Entry:
    """One path of the archive; `mode` with the file type, `content` of a link is its target."""

    path: str
    mode: int = DIRECTORY
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def write(out: Path, entries: Iterable[Entry]) -> None:
    """Write `entries`, sorted by path; the directories above them are added."""
    by_path = {entry.path.strip("/"): entry for entry in entries}
    for path in list(by_path):
        for parent in Path(path).parents:
            if str(parent) != "." and str(parent) not in by_path:
                by_path[str(parent)] = Entry(str(parent))
    with out.open("wb") as file:
        for number, path in enumerate(sorted(by_path), start=1):
            file.write(_record(path, by_path[path], number))
        file.write(_record("TRAILER!!!", Entry("TRAILER!!!", 0), 0))


def _record(path: str, entry: Entry, inode: int) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if entry.mode & 0o170000 == 0o040000 else 1
    major, minor = entry.device
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, major, minor, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
    return _padded(head) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
