"""Reaching into a running cluster: rsh, rcp, console, logs. Each ends as the program it becomes."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.base import proc, unix_sockets
from tasks.base.errors import UsageError, UserError
from tasks.base.node_names import node_name, number_of
from tasks.base.paths import NodeDir, Workspace
from tasks.project.project import Does, Project
from tasks.run.node import identity
from tasks.run.running import ssh_words
from tasks.run.running.cluster import Running


def ssh_options(workspace: Workspace, cluster: str, number: int) -> list[str]:
    """Options that make ssh and scp use our key and know the node's host key."""
    key, hosts = identity.present_key(workspace), identity.known_hosts(workspace, cluster)
    if not hosts.is_file():  # ssh would wait for a pipe for ever
        identity.write_known_hosts(workspace, cluster)
    return ssh_words.options(str(key), str(hosts), identity.alias(cluster, number))


def ssh_command(
    workspace: Workspace, cluster: str, at: tuple[str, int], number: int, command: Sequence[str]
) -> list[str]:
    """The ssh command line that runs `command` on a node, which is reached at an address and port."""
    options = [*ssh_options(workspace, cluster, number), "-p", str(at[1])]
    return [proc.need("ssh"), *options, f"root@{at[0]}", *command]


def node_number(project: Project, word: str) -> int:
    """The number in `3`, `003` or `vm-003`, of a node that is there. Raises UserError that lists them."""
    try:
        number = number_of(word)
    except ValueError as error:
        raise UsageError(str(error), "see the nodes: xc status") from None
    running = Running(project.workspace.cluster(project.settings.name))
    if number not in running.numbers:
        nodes = ", ".join(map(str, running.numbers))
        raise UserError(
            f"cluster '{project.settings.name}' has no running node {number}",
            f"there are: {nodes}" if nodes else _advice(project),
        )
    return number


def _advice(project: Project) -> str:
    """What to do where the cluster has no nodes that one can reach."""
    own, names = project.settings.name, [each.name for each in Running.all_left(project.workspace)]
    if own in names:
        return f"it is damaged: `xc stop --name={own}` ends it, `xc start --name={own}` replaces it"
    return f"name one that runs: --name={' or --name='.join(names)}" if names else "start one: xc start"


def ssh_at(project: Project, number: int) -> tuple[str, int]:
    """Address and port of a running node's ssh server. UserError when its machine has ended."""
    cluster = Running.get(project.workspace, project.settings.name)
    at = cluster.at(number)
    if not cluster.pid(number):
        name = cluster.name
        raise UserError(
            f"{node_name(number)} is dead: its process has ended",
            f"xc logs --name={name} {number} shows its console; xc scalein --name={name} {number} removes it",
        )
    return at


def to_node(project: Project, number: int, command: Sequence[str] = ()) -> list[str]:
    """The ssh command line for a running node; without a command a login."""
    at = ssh_at(project, number)
    return ssh_command(project.workspace, project.settings.name, at, number, command)


def _rsh(project: Project) -> None:
    number = node_number(project, project.words.args[0])
    command = list(project.words.args[1:])
    if project.words.options.get("bg"):
        command = ssh_words.background(command)
    become(to_node(project, number, command))


def _rcp(project: Project) -> None:
    word, remote, local = project.words.args
    number = node_number(project, word)
    host, port = ssh_at(project, number)
    options = [*ssh_options(project.workspace, project.settings.name, number), "-P", str(port)]
    become([proc.need("scp"), "-q", *options, f"root@{host}:{remote}", local])


def _console(project: Project) -> None:
    number = node_number(project, project.words.args[0])
    own = project.workspace.cluster(project.settings.name).node(number)
    if sys.stdin.isatty():
        print("(Ctrl-] leaves the console)", file=sys.stderr)
    become(console_command(own, terminal=sys.stdin.isatty()))


def console_command(own: NodeDir, *, terminal: bool) -> list[str]:
    """The command that connects a terminal with a node's serial console."""
    side = "STDIO,raw,echo=0,escape=0x1d" if terminal else "STDIO"
    socket = unix_sockets.HERE / own.console.name
    return unix_sockets.beside(own.root, [proc.need("socat"), side, f"UNIX-CONNECT:{socket}"])


def _logs(project: Project) -> None:
    number = node_number(project, project.words.args[0])
    own = project.workspace.cluster(project.settings.name).node(number)
    log = own.events if project.words.options.get("events") else own.console_log
    if not log.is_file():
        raise UserError(f"there is no {log.name} of {node_name(number)} yet", "the node is still starting")
    _copy_out(log)


def _copy_out(path: Path) -> None:
    sys.stdout.flush()
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def become(command: list[str]) -> None:
    """Replace this process, so that terminal, signals and exit code are the command's own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)


DOES: Does = {"rsh": _rsh, "rcp": _rcp, "console": _console, "logs": _logs}
