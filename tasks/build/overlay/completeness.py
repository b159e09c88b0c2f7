"""The messages of a `tar` script, its tar, and the overlay's own tree ──> whether the tar is complete.

What counts is whether something that the script copies is missing in the tar. Messages tell what that could
be, and the tar tells whether it is there.
"""

import fnmatch
import os
import tarfile
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tasks.build.overlay import script_messages
from tasks.build.overlay.script_messages import Message, Weight
from tasks.definitions.schema import Overlay

LISTED = 10  # lines that an error or a warning shows
# Directories that overlays make for what comes at run time. Any other that is empty was made for files.
FOR_LATER = ("var", "run", "tmp", "dev", "proc", "sys", "mnt", "media", "root", "home", "srv")


@dataclass(frozen=True)
class Content:
    """What a tar has: paths without a leading ./ or /."""

    files: frozenset[str]  # and links, devices
    folders: frozenset[str]

    @property
    def hollow(self) -> frozenset[str]:
        """Directories that have nothing in them, though they are not for what comes later."""
        names = [PurePosixPath(path) for path in (*self.files, *self.folders)]
        full = {str(parent) for name in names for parent in name.parents}
        return frozenset(path for path in self.folders - full if path.partition("/")[0] not in FOR_LATER)


@dataclass(frozen=True)
class Completeness:
    """`refusal` says what is wrong with the tar, "" for nothing; `leave` is the word that would allow it."""

    refusal: str = ""
    leave: str = ""
    warnings: tuple[str, ...] = ()


def content(path: Path) -> Content:
    """What is in a tar."""
    with tarfile.open(path) as tar:
        members = [(os.path.normpath(member.name.lstrip("/") or "."), member.isdir()) for member in tar]
    return Content(
        frozenset(name for name, is_dir in members if not is_dir),
        frozenset(name for name, is_dir in members if is_dir and name != "."),
    )


def judge(
    overlay: Overlay, printed: str, tar: Content, setup: Sequence[str], allow: Collection[str]
) -> Completeness:
    """Whether a tar is complete, as far as can be known. `setup` are the variants that SETUP names."""
    own = _Own(Path(os.path.realpath(overlay.directory)), setup)
    messages = [each for each in script_messages.read(printed) if not own.explains(each, tar)]
    absent = [each for each in overlay.provides if not _provided(each, tar)]
    if absent:
        return Completeness(f"there is nothing for {', '.join(absent)} (`provides` in its ovl.yaml)")
    if not tar.files and "empty" not in allow:
        return Completeness(_no_files(tar) + listed(each.line for each in messages), "empty")
    lacking = _programs(messages)
    warnings = _warnings(overlay, messages, lacking)
    if overlay.provides or "stderr" in allow:
        return Completeness(warnings=warnings)
    return Completeness(_refusal(overlay, messages, lacking, own, tar), "stderr", warnings)


def _refusal(
    overlay: Overlay, messages: Sequence[Message], lacking: Sequence[str], own: "_Own", tar: Content
) -> str:
    """Why a tar with files is not complete; "" if it seems to be."""
    losses = [each.line for each in messages if each.weight is Weight.LOSS]
    if losses:
        return "it printed errors" + listed(losses)
    if overlay.name in lacking:
        return f"its program {overlay.name} is not on this host"
    if own.is_all_of(tar):
        if len(lacking) > 1:
            return f"none of its programs is on this host: {', '.join(lacking)}"
        doubts = [each.line for each in messages if each.weight is Weight.DOUBT]
        hollow = sorted(path for path in tar.hollow if not (own.root / "default" / path).is_dir())
        if doubts and hollow:
            empty = ", ".join(f"{path}/" for path in hollow[:LISTED])
            return f"it left empty directories ({empty}), and printed errors{listed(doubts)}"
    return ""


def _warnings(overlay: Overlay, messages: Sequence[Message], lacking: Sequence[str]) -> tuple[str, ...]:
    warnings = []
    if lacking:
        warnings.append(f"overlay '{overlay.name}' is packed without programs that this host lacks: "
                        f"{', '.join(lacking)}")  # fmt: skip
    others = [each.line for each in messages if each.weight is not Weight.PROGRAM]
    if others:
        warnings.append(f"the tar script of overlay '{overlay.name}' printed errors{listed(others)}")
    return tuple(warnings)


def _programs(messages: Iterable[Message]) -> list[str]:
    """The names of programs that install_prog did not find."""
    names = (os.path.basename(each.thing) for each in messages if each.weight is Weight.PROGRAM)
    return list(dict.fromkeys(names))


def _no_files(tar: Content) -> str:
    if not tar.folders:
        return "the tar is empty"
    return (
        f"the tar has no file, only directories ({', '.join(f'{path}/' for path in sorted(tar.folders)[:5])})"
    )


def _provided(pattern: str, tar: Content) -> bool:
    plain = pattern.strip("/")
    return any(fnmatch.fnmatchcase(name, plain) for name in (*tar.files, *(tar.folders - tar.hollow)))


@dataclass(frozen=True)
class _Own:
    """The overlay's directory, with all links in its path followed, and the variants that SETUP names."""

    root: Path
    setup: Sequence[str]

    def explains(self, message: Message, tar: Content) -> bool:
        """Whether what a message says to be missing is in the tar after all, or was never anything.

        A script may copy a program from one of two places; or all files of a directory of its own that has
        none, or of a variant that is for other overlays.
        """
        if not message.thing or not message.replaceable:
            return False
        folder, name = os.path.split(os.path.normpath(message.thing))
        if "*" not in name:
            return _count(name, tar.files) > _count(name, self._files())
        place = Path(os.path.realpath(self.root / folder))
        if self.root not in place.parents:
            return False
        return not any(place.iterdir()) if place.is_dir() else place.name in self.setup

    def is_all_of(self, tar: Content) -> bool:
        """Whether a tar has nothing but files that the directory has."""
        mine = {path.rpartition("/")[2] for path in self._files()}
        return all(path.rpartition("/")[2] in mine for path in tar.files)

    def _files(self) -> list[str]:
        return [name for _, _, names in os.walk(self.root) for name in names]


def _count(name: str, paths: Collection[str]) -> int:
    return Counter(path.rpartition("/")[2] for path in paths)[name]


def listed(lines: Iterable[str]) -> str:
    """The last lines, for the end of a message; "" for none."""
    last = [line for line in lines if line.strip()][-LISTED:]
    return ":\n" + "\n".join(f"    {line}" for line in last) if last else ""
