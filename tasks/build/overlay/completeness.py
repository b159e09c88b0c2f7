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
    """`refusal` says what is wrong with the tar, "" for nothing; `empty` that it has no files."""

    refusal: str = ""
    empty: bool = False
    warnings: tuple[str, ...] = ()


def content(path: Path) -> Content:
    """What is in a tar."""
    with tarfile.open(path) as tar:
        members = [(os.path.normpath(member.name.lstrip("/") or "."), member.isdir()) for member in tar]
    return Content(
        frozenset(name for name, is_dir in members if not is_dir),
        frozenset(name for name, is_dir in members if is_dir and name != "."),
    )


def judge(overlay: Overlay, printed: str, tar: Content) -> Completeness:
    """Whether a tar is complete, as far as can be known."""
    messages = [each for each in script_messages.read(printed) if not _is_there(each, tar, overlay.directory)]
    absent = [each for each in overlay.provides if not _provided(each, tar)]
    if absent:
        return Completeness(f"there is nothing for {', '.join(absent)} (`provides` in its ovl.yaml)")
    if not tar.files:
        return Completeness(_no_files(tar) + listed(each.line for each in messages), empty=True)
    lacking = _programs(messages)
    warnings = _warnings(overlay, messages, lacking)
    if overlay.provides:
        return Completeness(warnings=warnings)
    return Completeness(_refusal(overlay, messages, lacking, tar), warnings=warnings)


def _refusal(overlay: Overlay, messages: Sequence[Message], lacking: Sequence[str], tar: Content) -> str:
    """Why a tar with files is not complete; "" if it seems to be."""
    losses = [each.line for each in messages if each.weight is Weight.LOSS]
    if losses:
        return "it printed errors" + listed(losses)
    if overlay.name in lacking:
        return f"its program {overlay.name} is not on this host"
    if _is_only_own(tar, overlay.directory):
        if len(lacking) > 1:
            return f"none of its programs is on this host: {', '.join(lacking)}"
        doubts = [each.line for each in messages if each.weight is Weight.DOUBT]
        if doubts and tar.hollow:
            empty = ", ".join(f"{path}/" for path in sorted(tar.hollow)[:LISTED])
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


def _is_there(message: Message, tar: Content, own: Path) -> bool:
    """Whether what a message says to be missing is in the tar after all, or was never anything.

    A script may copy a program from one of two places, or all files of a directory of its own that has none.
    """
    if not message.thing or not message.replaceable:
        return False
    path = Path(os.path.normpath(message.thing))
    if "*" in message.thing:
        return own in path.parents and path.parent.is_dir() and not any(path.parent.iterdir())
    return _count(path.name, tar.files) > _count(path.name, _own_files(own))


def _count(name: str, paths: Collection[str]) -> int:
    return Counter(path.rpartition("/")[2] for path in paths)[name]


def _is_only_own(tar: Content, own: Path) -> bool:
    """Whether a tar has nothing but files that the overlay's directory has."""
    mine = {path.rpartition("/")[2] for path in _own_files(own)}
    return all(path.rpartition("/")[2] in mine for path in tar.files)


def _own_files(own: Path) -> list[str]:
    return [name for _, _, names in os.walk(own) for name in names]


def listed(lines: Iterable[str]) -> str:
    """The last lines, for the end of a message; "" for none."""
    last = [line for line in lines if line.strip()][-LISTED:]
    return ":\n" + "\n".join(f"    {line}" for line in last) if last else ""
