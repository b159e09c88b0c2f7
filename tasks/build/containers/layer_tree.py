"""The entries of a layer's tar, in order -> the tree that they make over the layers below it.

What a name stands for depends on what was there before: a link to a directory, in this layer or in one below,
is gone through; a later entry replaces an earlier one; marks remove only what is below.
"""

import posixpath
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tasks.formats import descent

REMOVED, OPAQUE, AUFS = ".wh.", ".wh..wh..opq", ".wh..wh."
HARD_LINKS = ".wh..wh.plnk"  # where aufs keeps the content of files with several names


@dataclass
class LayerTree:
    """What a layer has, by path; `below` are the symbolic links of the layers below it."""

    below: Mapping[str, str]
    entries: dict[str, int] = field(default_factory=dict)  # path -> number of the entry that counts
    folders: dict[str, tarfile.TarInfo | None] = field(default_factory=dict)  # None: nothing lists it
    links: dict[str, str] = field(default_factory=dict)  # symbolic links
    hard: dict[str, str] = field(default_factory=dict)  # hard links, path -> path of the file
    removed: set[str] = field(default_factory=set)  # gone from the layers below
    opaque: set[str] = field(default_factory=set)  # directories that hide what is below them
    _kept: dict[str, int] = field(default_factory=dict)  # aufs's contents, by name

    def add(self, number: int, member: tarfile.TarInfo, name: str, target: str) -> None:
        """The next entry. `name`, and `target` of a hard link, are plain paths."""
        folder, base = posixpath.split(name)
        if base != OPAQUE and any(part.startswith(AUFS) for part in name.split("/")):
            if member.isreg() and name.startswith(f"{HARD_LINKS}/"):
                self._kept[name] = number
            return
        folder = self._through_links(folder)
        self._make_folder(folder)
        if base == OPAQUE:
            self.opaque.add(folder)
        elif base.startswith(REMOVED):
            victim = base.removeprefix(REMOVED)
            if victim not in ("", ".", ".."):
                self.removed.add(posixpath.join(folder, victim))
        elif name:
            self._put(number, member, posixpath.join(folder, base), target)
        else:
            self.folders[""] = member

    def finish(self) -> None:
        """All entries were added. Files that aufs kept get the first of their names."""
        for target in list(self.hard.values()):
            if target in self._kept:
                first = next(name for name, other in self.hard.items() if other == target)
                self.entries[first] = self._kept.pop(target)
                del self.hard[first]
                for other in [name for name, each in self.hard.items() if each == target]:
                    self.hard[other] = first
        for path in list(self.hard):
            seen = {path}
            while (target := self.hard[path]) in self.hard and target not in seen:
                seen.add(target)
                self.hard[path] = self.hard[target]
        self.opaque |= {path for path in self.removed if path in self.folders}
        self.removed = {
            path for path in self.removed if path not in self.folders and path not in self.entries
        }

    def all_links(self) -> dict[str, str]:
        """The symbolic links of this layer and of those below."""
        kept = {path: target for path, target in self.below.items() if not self._hides(path)}
        return kept | self.links

    def _put(self, number: int, member: tarfile.TarInfo, path: str, target: str) -> None:
        if member.isdir():
            if path not in self.folders:
                self._forget(path)
            self.folders[path] = member
            return
        self._forget(path)
        self.entries[path] = number
        if member.issym():
            self.links[path] = member.linkname
        elif member.islnk():
            folder, base = posixpath.split(target)
            kept = target.startswith(f"{HARD_LINKS}/")
            self.hard[path] = target if kept else posixpath.join(self._through_links(folder), base)

    def _forget(self, path: str) -> None:
        """A later entry replaces a file, or a directory with all that is in it."""
        gone = [path]
        if path in self.folders:
            below = (*self.entries, *self.folders)
            gone += [each for each in below if each.startswith(f"{path}/")]
            self.removed.add(path)  # the same in layers below
        for each in gone:
            for kind in (self.entries, self.folders, self.links, self.hard):
                kind.pop(each, None)

    def _make_folder(self, path: str) -> None:
        for parent in parents(path):
            if parent not in self.folders:
                self._forget(parent)
                self.folders[parent] = None

    def _hides(self, path: str) -> bool:
        """Whether this layer has something else where a layer below has a link."""
        if path in self.entries or path in self.folders:
            return True
        above = [*parents(path)]
        return any(each in self.removed or each in self.entries for each in above) or any(
            each in self.opaque for each in ("", *above[:-1])
        )

    def _through_links(self, path: str) -> str:
        """The directory that a path leads to, as in a chroot."""
        if not (self.links or self.below):
            return path
        done: list[str] = []
        left = deque(path.split("/"))
        links = 0
        while left:
            part = left.popleft()
            if part == "..":
                done = done[:-1]
            if part in ("", ".", ".."):
                continue
            here = "/".join([*done, part])
            target = self.links.get(here)
            if target is None and not self._hides(here):
                target = self.below.get(here)
            links += target is not None
            if target is None or links > descent.LINKS:
                done.append(part)
                continue
            done = [] if target.startswith("/") else done
            left.extendleft(reversed(target.split("/")))
        return "/".join(done)


def parents(path: str) -> Iterator[str]:
    """The directories from the top down to `path` itself, without the top."""
    parts = path.split("/") if path else []
    for length in range(1, len(parts) + 1):
        yield "/".join(parts[:length])
