"""What git knows of the project: its files, its version, and what is not committed."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tasks.base import proc
from tasks.base.errors import CommandError, UserError

LINK, MODULE = "120000", "160000"


@dataclass(frozen=True)
class Checkout:
    """A work tree and how it differs from its commit."""

    commit: str
    version: str  # git describe's; with the project's own version before it where there is no tag
    tracked: tuple[tuple[str, str], ...]  # (path, git's mode) of every file that is there
    changed: tuple[str, ...]  # tracked, and not as in the commit
    untracked: tuple[str, ...]


def look(root: Path) -> Checkout:
    """The checkout at `root`. Raises UserError when it is none, or has no commit yet."""
    try:
        top = _git(root, "rev-parse", "--show-toplevel").strip()
        commit = _git(root, "rev-parse", "HEAD").strip()
        tag = _git(root, "describe", "--tags", "--always", "--abbrev=8").strip()
    except CommandError as error:
        raise UserError(
            f"{root} is not a git checkout with a commit: {_reason(error)}",
            "a release is made of what git tracks: make it in a clone of the repository",
        ) from error
    if Path(top).resolve() != root.resolve():
        raise UserError(
            f"{root} is inside of the git checkout {top}, not one itself",
            "a release is made of what git tracks: make it in a clone of the repository",
        )
    changed, untracked = _status(root)
    if commit.startswith(tag):
        tag = f"{_project_version(root)}-g{tag}"
    version = tag + ("-dirty" if changed else "")
    return Checkout(commit, version, _tracked(root), changed, untracked)


def _tracked(root: Path) -> tuple[tuple[str, str], ...]:
    tracked = []
    for line in _git(root, "ls-files", "--stage", "-z").split("\0"):
        facts, _, path = line.partition("\t")
        if path and (root / path).is_symlink() | (root / path).exists():
            tracked.append((path, facts.split()[0]))
    modules = [path for path, mode in tracked if mode == MODULE]
    if modules:
        raise UserError(f"a release cannot contain git submodules, such as {modules[0]}")
    return tuple(sorted(dict.fromkeys(tracked)))


def _status(root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    words = ["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all"]
    entries = [entry for entry in _git(root, *words).split("\0") if entry]
    untracked = [entry[3:] for entry in entries if entry.startswith("??")]
    changed = [entry[3:] for entry in entries if not entry.startswith("??")]
    return tuple(sorted(changed)), tuple(sorted(untracked))


def _project_version(root: Path) -> str:
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def _git(root: Path, *words: str) -> str:
    # Looking must not write: refreshing the index would fail in a checkout of somebody else.
    command: proc.Argv = ["git", "-c", "core.fsmonitor=false", "-C", root, *words]
    listing = proc.output(command, env={"GIT_OPTIONAL_LOCKS": "0"})
    return listing.decode(errors="surrogateescape")


def _reason(error: CommandError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "fatal:" in line]
    return lines[0].removeprefix("fatal: ") if lines else str(error)
