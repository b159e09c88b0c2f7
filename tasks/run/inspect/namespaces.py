"""The verbs of network namespaces: into the cluster's own, and those that root makes by number."""

import contextlib
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.base import files, proc, progress, signals
from tasks.base.errors import CommandError, UsageError, UserError
from tasks.definitions.setting_forms import LEAST_MTU
from tasks.project.project import Does, Project
from tasks.run.net import bridge, host_support, numbered
from tasks.run.running import reach
from tasks.run.running.cluster import Running

OPTIONS = {"ipv4_base=": "addresses of namespaces [172.30.0.0/24]", "ipv6_prefix=": "[fd00:1723::]"}
LAST_NET = 99
PASSED = ("HOME", "USER", "LOGNAME", "PATH", "LANG", "XCLUSTER_WORKSPACE")  # sudo keeps few


def _enter(project: Project) -> None:
    running = Running.get(project.workspace, project.settings.name)
    if running.settings.net != "bridge":
        raise UserError(
            "this cluster has no network namespace, its nets are in user space",
            "start it with bridges: xc start --net=bridge",
        )
    reach.become([*running.backend.inside(running.directory), *_shell(project.words.args)])


def _nsadd(project: Project) -> None:
    space = _space(project)
    if space.name in _spaces():
        raise UserError(f"the namespace {space.name} already exists", f"enter it: xc nsenter {space.number}")
    folder = project.workspace.root / "nsadd"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _add(space, project.settings.prefix, folder)
    except BaseException:
        _remove(space)
        raise
    finally:
        files.remove(folder)
    progress.say(f"namespace {space.name}: {space.own} and {space.own6}, bridges xcbr0 xcbr1 xcbr2")


def _add(space: numbered.NumberedNamespace, prefix: str, folder: Path) -> None:
    for command in numbered.add(space):
        _as_root(command)
    inside = ["ip", "netns", "exec", space.name]
    (folder / "outer").write_text(numbered.rules(space))
    (folder / "inner").write_text(numbered.inner_rules(space, prefix))
    _as_root(["nft", "-f", str(folder / "outer")])
    _as_root([*inside, "nft", "-f", str(folder / "inner")])
    plan = {"bridges": bridge.bridges(numbered.NETS, prefix, 1500), "keep": True}
    files.write_json(folder / "plan.json", plan)
    _as_root([*inside, sys.executable, "-I", str(bridge.LINKS), str(folder / "plan.json")])


def _br_setup(project: Project) -> None:
    """Make a bridge, as upstream does. Nothing is done where each start makes the bridges of its cluster."""
    word, mtu = project.words.args[0], project.words.options.get("mtu", "1500")
    if not _within(word, 0, LAST_NET) or not _within(mtu, LEAST_MTU, bridge.LARGEST_MTU):
        raise UsageError(
            f"br_setup: N must be a net (0-{LAST_NET}), and --mtu {LEAST_MTU} to {bridge.LARGEST_MTU}",
            project.words.usage,
        )
    if not host_support.here():
        progress.say(f"xcbr{word} is not made: there are no bridges here, and a start makes its own")
        return
    folder = project.workspace.root / "nsadd"
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"bridges": bridge.bridges([int(word)], project.settings.prefix, int(mtu)), "keep": True}
    files.write_json(folder / "plan.json", plan)
    try:
        proc.output([sys.executable, "-I", str(bridge.LINKS), str(folder / "plan.json")])
    finally:
        files.remove(folder)


def _within(word: str, least: int, most: int) -> bool:
    return word.isascii() and word.isdigit() and least <= int(word[:9]) <= most


def _nsenter(project: Project) -> None:
    word, *command = project.words.args
    space = _existing(word)
    inside = [proc.need("ip"), "netns", "exec", space.name]
    if os.geteuid() == 0:
        reach.become([*inside, *_shell(command)])
    # The user's own process, with the one right that taps need.
    keep = [f"{name}={os.environ[name]}" for name in PASSED if name in os.environ]
    who = [f"--reuid={os.getuid()}", f"--regid={os.getgid()}", "--init-groups"]
    rights = ["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]
    drop = [proc.need("setpriv"), *who, *rights, "env", *keep]
    reach.become([proc.need("sudo"), *inside, *drop, *_shell(command)])


def _nsdel(project: Project) -> None:
    space = _existing(project.words.args[0])
    busy = _as_root(["ip", "netns", "pids", space.name]).split()
    if busy:
        raise UserError(
            f"{len(busy)} processes run in {space.name}: {' '.join(busy[:8])}",
            f"end them first; clusters there: xc nsenter {space.number} ./xc stop",
        )
    _remove(space)
    progress.say(f"namespace {space.name} is removed")


@signals.whole
def _remove(space: numbered.NumberedNamespace) -> None:
    """Remove all parts of the namespace that exist."""
    for command in numbered.remove(space):
        with contextlib.suppress(CommandError):
            _as_root(command)


def _space(project: Project) -> numbered.NumberedNamespace:
    options = project.words.options
    base = options.get("ipv4_base", "172.30.0.0/24")
    base = f"{base}.0.0/24" if base.count(".") == 1 else base  # upstream's older form, 172.30
    return numbered.named(project.words.args[0], _user(), base, options.get("ipv6_prefix", "fd00:1723::"))


def _existing(word: str) -> numbered.NumberedNamespace:
    """A namespace that is there; its addresses do not matter."""
    space = numbered.named(word, _user(), "172.30.0.0/16", "fd00:1723::")
    if space.name not in _spaces():
        there = [name for name in _spaces() if "_xcluster" in name]
        raise UserError(
            f"there is no namespace {space.name}" + (f"; there are: {', '.join(there)}" if there else ""),
            f"make it: xc nsadd {space.number}",
        )
    return space


def _spaces() -> list[str]:
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _user() -> str:
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or getpass.getuser()


def _as_root(command: Sequence[str]) -> str:
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    return proc.output([*sudo, proc.need(command[0]), *command[1:]]).decode()


def _shell(command: Sequence[str]) -> list[str]:
    words = list(command) or [os.environ.get("SHELL") or "/bin/sh"]
    return [proc.need(words[0]), *words[1:]]


DOES: Does = {"enter": _enter, "nsadd": _nsadd, "nsenter": _nsenter, "nsdel": _nsdel, "br_setup": _br_setup}
