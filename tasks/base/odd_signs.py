"""A path, and signs that a program cannot have in one -> an error that names the sign, before work begins."""

import re
from pathlib import Path

from tasks.base.errors import UsageError, UserError

# No program takes these: text files of others are read by lines and as UTF-8, and ssh puts variables in.
ANYWHERE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|\$\{")
# make, and the shells that a kernel's makefiles start, read every other sign as something else.
KERNEL = re.compile(r"[^\w./+@^~,=-]", re.ASCII)
GO = re.compile(r":")  # its variables are lists


def refuse(path: Path, pattern: re.Pattern[str], who: str) -> None:
    """Raise UsageError when something in `path` matches; `who` is what cannot work there."""
    match = pattern.search(str(path))
    if match:
        shown = ascii(match[0]) if not match[0].isprintable() else f"'{match[0]}'"
        where = str(path).encode("utf-8", "backslashreplace").decode()
        raise UsageError(
            f"{who} cannot work in a directory with {shown} in its path: {where!r}",
            "set XCLUSTER_WORKSPACE to a directory without it",
        )


def are_in(path: Path, pattern: re.Pattern[str]) -> bool:
    """Whether something in `path` matches."""
    return bool(pattern.search(str(path)))


def blamed(path: Path, what: str) -> UserError:
    """The error for something that went wrong below `path` without a reason: it may be a sign in it."""
    signs = " ".join(sorted(set(re.sub(r"[\w./-]", "", str(path)))))
    return UserError(
        f"{what} below {path}: it may be for a sign of that path",
        f"set XCLUSTER_WORKSPACE to a directory without {signs or 'odd signs'}",
    )
