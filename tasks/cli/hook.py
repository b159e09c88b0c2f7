"""XCLUSTER_HOOK: a user's shell file whose cmd_NAME functions are verbs; its prepare() changes settings."""

import errno
import os
import re
import sys
from collections.abc import Mapping, Sequence

from tasks.base import progress
from tasks.base.programs import find
from tasks.cli.upstream.contract import ROOT
from tasks.definitions.upstream_names import of_hook

RUNNING = "XC_HOOKED"  # the verbs that the hook is doing now: in these, our own are meant
TOLD = "XC_HOOK_TOLD"  # the hook of which was told that it cannot be run
VARIABLE = "XCLUSTER_HOOK"
COUNTS = {"__nvm": "4", "__nrouters": "2", "__ntesters": "0"}  # which hooks read, and `env` does not print
_FUNCTION = r"^[ \t]*(?:function[ \t]+)?{}[ \t]*\(\)"
_VERB = re.compile(r"((?:^#.*\n)*)" + _FUNCTION.format(r"cmd_(\w+)"), re.MULTILINE)


def verbs() -> dict[str, str]:
    """The verbs of the hook, and what the comment above each says; none without a hook that can be read."""
    try:
        text = _read(os.environ.get(VARIABLE, ""))
    except OSError:
        return {}
    return {name: _comment(above) for above, name in _VERB.findall(text)}


def _comment(lines: str) -> str:
    text = [line.lstrip("#").strip() for line in lines.splitlines()]
    return "\n".join(text).strip()


def summary(name: str, comment: str) -> str:
    """One line of a comment for a list of verbs: not the one that repeats the name."""
    lines = [line for line in comment.splitlines() if line and line.split()[0] != name]
    return lines[0] if lines else "of your hook"


def help_of(name: str, comment: str) -> str:
    """What `xc help NAME` prints for a verb of the hook."""
    return f"{comment or f'xc {name}'}\n(a verb of your hook: {os.environ.get(VARIABLE, '')})\n"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def run(argv: Sequence[str]) -> int | None:
    """Let the hook run these words if it has a command for them. Returns None if it has none."""
    path = os.environ[VARIABLE] = os.path.abspath(os.environ[VARIABLE])
    inside = os.environ.get(RUNNING, "").split()
    verb = argv[0] if argv else ""
    if not re.fullmatch(r"[A-Za-z_]\w*", verb) or verb == "help":
        _without(path)
        return None
    try:
        text = _read(path)
    except OSError as error:
        return _refused(f"{VARIABLE}: {path}: {error.strerror}")
    own = verb not in inside and re.search(_FUNCTION.format(f"cmd_{verb}"), text, re.MULTILINE)
    if own and argv[1:2] in (["--help"], ["-h"]):
        sys.stdout.write(help_of(verb, verbs().get(verb, "")))
        return 0
    prepares = not inside and re.search(_FUNCTION.format("prepare"), text, re.MULTILINE)
    if not (own or prepares):
        _without(path)
        return None
    shell = find("bash")  # it alone tells a function that is not there from one that failed
    if shell is None:
        return _refused(f"{VARIABLE}: {path}: a hook is run by bash, and there is none")
    # A user's start may call our stop, and its own status; none calls itself for ever.
    environ = of_hook(os.environ)
    environ[RUNNING] = " ".join([*inside, verb])
    environ["XCLUSTER"] = os.path.join(ROOT, "xc")
    environ["XC_VERBS"] = " ".join(_verbs())
    environ["XC_COUNTS"] = " ".join(f"{name}={value}" for name, value in _counts(environ).items())
    script = os.path.join(ROOT, "tasks", "cli", "hook.sh")
    sys.stdout.flush()
    os.execve(shell, ["bash", script, "own" if own else "ours", path, *argv], environ)


def _without(path: str) -> None:
    """Tell once if a hook that has nothing for this verb cannot be run: verbs of its own may be missing."""
    if os.environ.get(TOLD) == path:
        return
    shell = find("bash")
    if not os.path.isfile(path):
        why = f"{path}: {os.strerror(errno.EISDIR if os.path.isdir(path) else errno.ENOENT)}"
    elif shell is None:
        return
    else:
        from tasks.base import proc

        code, text = proc.finish(proc.pipe([shell, "-n", path], stdout=1))
        if not code:
            return
        why = next(iter(text.splitlines()), f"{path}: bash cannot read it")
    os.environ[TOLD] = path  # scripts that this verb runs call us again
    progress.say(f"warning: {VARIABLE}: {progress.visible(why)}")


def _refused(why: str) -> int:
    sys.stderr.write(f"ERROR: {why}\n")
    return 1


def _counts(environ: Mapping[str, str]) -> dict[str, str]:
    """How many nodes of each role a start would have, as far as that is said without definitions."""
    from tasks.project import plain_file

    file = plain_file.read(os.path.join(ROOT, "xcluster.yaml")) or {}
    chosen = {name: environ.get(name) or file.get(name[2:]) or usual for name, usual in COUNTS.items()}
    return {name: value if value.isdecimal() else COUNTS[name] for name, value in chosen.items()}


def _verbs() -> list[str]:
    from tasks.cli import table

    names = {row.name for row in table.own()} - {"env", "help"}
    return sorted(name for name in names if re.fullmatch(r"\w+", name))
