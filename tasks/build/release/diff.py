"""Two releases, archives, ISOs, disks, overlays or directories ──diff──> which files differ, and how.

What differs is looked into: a file of an overlay on an ISO in a release is told by name. Exit code 0: the
same; 1: they differ; 2: wrong words, or something that cannot be read.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.base import files, output
from tasks.base.errors import UsageError, UserError, meant
from tasks.build.release import listing
from tasks.engine.exit_code import EXIT
from tasks.project.project import Does, Project

Room = Callable[[], Path]  # gives a new place for what is looked into


@dataclass(frozen=True)
class Difference:
    """One thing that differs. `kind`: content, mode, owner, link, type, only in A, only in B, or format."""

    path: str  # with ! where a container is entered
    kind: str
    detail: str = ""


def _diff(project: Project) -> None:
    form = project.words.options.get("o", "")
    if form not in ("", "json"):
        raise UsageError(f"-o {form}: unknown format (known: json)")
    one, other = (_named(project, word) for word in project.words.args)
    with files.scratch(project.workspace.root / "diff") as scratch:
        differences = list(compare(one, other, scratch))
    if form == "json":
        output.as_json([asdict(each) for each in differences])
    else:
        for each in differences:
            sys.stdout.write(f"{each.kind:<10} {each.path}{f'  ({each.detail})' if each.detail else ''}\n")
    if differences:
        sys.stdout.flush()
        places = f"{len(differences)} {'place' if len(differences) == 1 else 'places'}"
        if form == "json":  # it has told all of it
            EXIT.fail(1)
        else:
            raise UserError(f"{' and '.join(project.words.args)} differ in {places}")


def _named(project: Project, word: str) -> Path:
    """A path, or the name of a release that was made here."""
    release = project.workspace.release(word)
    if Path(word).exists():
        return Path(word)
    if "/" not in word and release.is_dir():
        return release
    releases = [path.name for path in release.parent.glob("*") if path.is_dir()]
    raise UsageError(f"there is no file and no release '{word}'{meant(word, releases)}", project.words.usage)


def compare(one: Path, other: Path, scratch: Path) -> Iterator[Difference]:
    """All that differs between two paths. Raises UsageError when one is damaged or cannot be read."""
    numbers = itertools.count()
    try:
        yield from _compare(one, other, "", lambda: scratch / str(next(numbers)))
    except (FileNotFoundError, PermissionError) as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error


def _compare(one: Path, other: Path, where: str, room: Room) -> Iterator[Difference]:
    kinds = [listing.kind_of(path) for path in (one, other)]
    if "directory" not in kinds and files.sha256(one) == files.sha256(other):
        return
    if not all(kinds):
        yield Difference(where or other.name, "content", _sizes(one.stat().st_size, other.stat().st_size))
        return
    left, right = (listing.look(path, room()) for path in (one, other))
    inside = f"{where}!" if where else ""
    differ = False
    for name in sorted(left.keys() | right.keys()):
        above = name.rpartition("/")[0]
        if above and (above in left) != (above in right):
            continue  # its directory was told
        for each in _entry(left.get(name), right.get(name), inside + name, room):
            differ = True
            yield each
    if not differ and "directory" not in kinds:
        yield Difference(
            where or other.name, "format", "the same files: order, times or the container differ"
        )


def _entry(
    one: listing.Item | None, other: listing.Item | None, path: str, room: Room
) -> Iterator[Difference]:
    """How two entries of one name differ."""
    path = path.rstrip("!") or path
    if one is None or other is None:
        yield Difference(path, "only in A" if one else "only in B")
        return
    if one.kind != other.kind:
        yield Difference(path, "type", f"{one.kind}, {other.kind}")
        return
    if one.kind != "link" and one.mode != other.mode:
        yield Difference(path, "mode", f"{one.mode:o}, {other.mode:o}")
    if one.owner != other.owner:
        yield Difference(path, "owner", f"{one.owner}, {other.owner}")
    if one.target != other.target:
        yield Difference(path, "link", f"{one.target}, {other.target}")
    if one.sha256 != other.sha256:
        if one.copy and other.copy:
            yield from _compare(one.copy, other.copy, path, room)
        else:
            yield Difference(path, "content", _sizes(one.size, other.size))


def _sizes(one: int, other: int) -> str:
    return f"{one}, {other} bytes" if one != other else f"{one} bytes both"


DOES: Does = {"diff": _diff}
