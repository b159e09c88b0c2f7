"""XCLUSTER_HOOK: a user's shell file whose cmd_NAME functions are verbs; its prepare() changes settings."""

import os
import re
import sys
from collections.abc import Sequence

from tasks.cli.upstream.contract import ROOT

RUNNING = "XC_HOOKED"  # the verbs that the hook is doing now: in these, our own are meant
_FUNCTION = r"^\s*(?:function\s+)?{}\s*\(\)"


def run(argv: Sequence[str]) -> int | None:
    """Let the hook run these words if it has a command for them. Returns None if it has none."""
    path = os.environ["XCLUSTER_HOOK"] = os.path.abspath(os.environ["XCLUSTER_HOOK"])
    inside = os.environ.get(RUNNING, "").split()
    verb = argv[0] if argv else ""
    if not re.fullmatch(r"[A-Za-z_]\w*", verb) or verb == "help":
        return None
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError as error:
        sys.stderr.write(f"ERROR: XCLUSTER_HOOK: {path}: {error.strerror}\n")
        return 1
    own = verb not in inside and re.search(_FUNCTION.format(f"cmd_{verb}"), text, re.MULTILINE)
    prepares = not inside and re.search(_FUNCTION.format("prepare"), text, re.MULTILINE)
    if not (own or prepares):
        return None
    # A user's start may call our stop, and its own status; none calls itself for ever.
    os.environ[RUNNING] = " ".join([*inside, verb])
    os.environ["XCLUSTER"] = os.path.join(ROOT, "xc")
    os.environ["XC_VERBS"] = " ".join(_verbs())
    script = os.path.join(ROOT, "tasks", "cli", "hook.sh")
    sys.stdout.flush()
    os.execv("/bin/sh", ["sh", script, "own" if own else "ours", path, *argv])


def _verbs() -> list[str]:
    from tasks.cli import table

    names = {row.name for row in table.own()} - {"env", "help"}
    return sorted(name for name in names if re.fullmatch(r"\w+", name))
