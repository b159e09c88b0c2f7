"""The verbs that go to network namespaces: to the cluster's own, and to those that root makes by number."""

import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.base import files, proc, progress
from tasks.base.errors import UsageError, UserError
from tasks.definitions.setting_forms import LEAST_MTU
from tasks.project.project import Does, Project
from tasks.run.net import bridge, host_support, numbered
from tasks.run.running import reach
from tasks.run.running.cluster import Running

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
    space = existing(word)
    inside = [proc.need("ip"), "netns", "exec", space.name]
    if os.geteuid() == 0:
        reach.become([*inside, *_shell(command)])
    # The user's own process, with the one right that taps need.
    keep = [f"{name}={os.environ[name]}" for name in PASSED if name in os.environ]
    who = [f"--reuid={os.getuid()}", f"--regid={os.getgid()}", "--init-groups"]
    rights = ["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]
    drop = [proc.need("setpriv"), *who, *rights, "env", *keep]
    reach.become([proc.need("sudo"), *inside, *drop, *_shell(command)])


def existing(word: str) -> numbered.NumberedNamespace:
    """A namespace that is there; its addresses do not matter."""
    space = numbered.named(word, user(), "172.30.0.0/16", "fd00:1723::")
    if space.name not in spaces():
        there = [name for name in spaces() if "_xcluster" in name]
        raise UserError(
            f"there is no namespace {space.name}" + (f"; there are: {', '.join(there)}" if there else ""),
            f"make it: xc nsadd {space.number}",
        )
    return space


def spaces() -> list[str]:
    """The names of all network namespaces that have one."""
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def user() -> str:
    """Whose namespaces these are, also with sudo."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or getpass.getuser()


def as_root(command: Sequence[str]) -> str:
    """Run a command as root; what it says. Raises CommandError."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    return proc.output([*sudo, proc.need(command[0]), *command[1:]]).decode()


def _shell(command: Sequence[str]) -> list[str]:
    words = list(command) or [os.environ.get("SHELL") or "/bin/sh"]
    return [proc.need(words[0]), *words[1:]]


DOES: Does = {"enter": _enter, "nsenter": _nsenter, "br_setup": _br_setup}
