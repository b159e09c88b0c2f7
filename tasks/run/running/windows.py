"""A command -> an xterm window: consoles of nodes and logins, in a raster, by role; the verb `vm`.

A window lives until `stop`, until its node is removed, or until it is closed.
"""

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tasks.base import helper, locks, proc, progress, records, signals
from tasks.base.errors import UsageError
from tasks.base.node_names import node_name
from tasks.base.paths import ClusterDir, NodeDir, Workspace
from tasks.base.records import Mark
from tasks.definitions.roles import COLOUR, role_of
from tasks.project.project import Does, Project
from tasks.run.running import reach
from tasks.run.running.cluster import Running
from tasks.run.running.raster import Cell, Raster, places
from tasks.run.running.state import WindowRecord

LOG = "xterm.log"
# A console begins with what it showed so far, less a shell's questions for the cursor, which the terminal
# would answer now.
BEGIN = r"""sed "s/$(printf '\033')\[6n//g" "$1"; shift; exec "$@" """
OPENS = 0.5  # seconds in which an xterm has found out that it cannot
LOGIN = "login"  # in place of a node's role, in the record of a window that shows no console
OPTIONS = ("xopt", "xtermopt")  # variables with options of xterm, which count more than ours


def possible() -> bool:
    """Whether there is a display, and a program that opens windows."""
    return bool(os.environ.get("DISPLAY")) and proc.find("xterm") is not None


def check() -> None:
    """Raise UsageError for variables by which windows cannot be placed, if windows would open."""
    if possible():
        _raster()
        for name in OPTIONS:
            _options(name)


def _raster() -> Raster:
    try:
        return Raster.of(os.environ)
    except ValueError as error:
        raise UsageError(str(error), "the defaults are dx=550;dy=220;sz=80x12 and xo=20;yo=50") from None


def _options(name: str) -> list[str]:
    try:
        return shlex.split(os.environ.get(name, ""))
    except ValueError as error:
        raise UsageError(
            f"{name}: {error}", "it is read as options of xterm, as in xtermopt='-fa Mono'"
        ) from None


def consoles(workspace: Workspace, name: str, numbers: Sequence[int]) -> None:
    """Open a window with the console of each node. What keeps them from opening is told as a warning."""
    cluster, raster = workspace.cluster(name), _raster()
    roles = [role_of(number) for number in numbers]
    windows = []
    with _raster_locked(cluster):
        cells = places(_taken(Running.every(workspace)), roles, raster.rows)
        for number, role, cell in zip(numbers, roles, cells, strict=True):
            own = cluster.node(number)
            console = reach.console_command(own, terminal=True)
            command = ["sh", "-c", BEGIN, "sh", str(own.console_log), *console]
            record = {"column": cell[0], "row": cell[1], "role": role}
            options = ["-geometry", raster.geometry(cell), "-bg", COLOUR[role]]
            windows.append((own, _opened(own, node_name(number), command, options, record)))
    reason = without(windows)
    if reason:
        progress.say(f"warning: {reason}; `xc console N` shows a console, --xterm=no opens no windows")


def _raster_locked(cluster: ClusterDir) -> AbstractContextManager[None]:
    """While a window gets its place, no other one gets the same, of whatever cluster it is."""
    return locks.locked(cluster.lock.with_name(".windows.lock"))


def _taken(clusters: Sequence[Running]) -> dict[Cell, str]:
    """The cells that have a window, with the role of its node, or LOGIN. Other clusters have windows too."""
    every = [each for cluster in clusters for each in _records(cluster)]
    open_ = [record for path, record in every if record.column and records.process(path)]
    return {(record.column, record.row): record.role for record in open_}


def _records(cluster: Running) -> list[tuple[Path, WindowRecord]]:
    """The windows that were opened for the nodes of a cluster, and are open or closed by now."""
    files = [path for number in cluster.numbers for path in cluster.node(number).root.glob("*.window")]
    return [(path, record) for path in files if (record := records.intact(path, WindowRecord))]


def are_used(cluster: ClusterDir) -> bool:
    """Whether consoles of the cluster were opened in windows; they may be closed by now."""
    return any(record.column and record.role != LOGIN for _, record in _records(Running(cluster)))


def login(workspace: Workspace, own: NodeDir, title: str, command: Sequence[str]) -> str | None:
    """Open a window in which a command runs, in a column of such windows; why it did not open."""
    raster = _raster()
    with _raster_locked(ClusterDir(own.root.parent)):
        (cell,) = places(_taken(Running.every(workspace)), [LOGIN], raster.rows)
        options = ["-geometry", raster.geometry(cell), "-bg", "#ffffff"]
        record = {"column": cell[0], "row": cell[1], "role": LOGIN}
        window = own, _opened(own, title, command, options, record)
    return without([window])


@signals.whole
def _opened(
    own: NodeDir, title: str, command: Sequence[str], options: Sequence[str], place: Mapping[str, object]
) -> proc.Process:
    state = own.root / f"{title}-{os.getpid()}-{os.urandom(3).hex()}.window"
    users = [word for name in OPTIONS for word in _options(name)]
    argv = ["xterm", "-T", title, "-fg", "black", *options, *users, "-e", *command]
    process = proc.spawn(argv, own.root / LOG, env=helper.environment(own.root.parent))
    records.write(state, WindowRecord.at(Mark.of(process.pid), **place))
    return process


def without(windows: Sequence[tuple[NodeDir, proc.Process]]) -> str | None:
    """Why windows did not open, if one of them did not: its display is gone, or does not let us in."""
    until = time.monotonic() + OPENS
    while time.monotonic() < until:
        for own, process in windows:
            if process.poll():  # one that was closed ends with 0
                return f"no window on DISPLAY={os.environ['DISPLAY']}: {helper.end_of(own.root / LOG)}"
        time.sleep(0.02)
    return None


def _vm(project: Project) -> None:
    number = reach.node_number(project, project.words.args[0])
    command = reach.to_node(project, number)
    command.insert(1, "-t")
    if not possible():
        reach.become(command)
    own = project.workspace.cluster(project.settings.name).node(number)
    reason = login(project.workspace, own, f"{node_name(number)} login", command)
    if reason:
        progress.say(f"warning: {reason}; the login is here instead")
        reach.become(command)


DOES: Does = {"vm": _vm}
