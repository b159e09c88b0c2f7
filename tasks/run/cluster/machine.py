"""Single machines: boot_vm, xvm, svm, stop_vm, reset_vm; and inject: overlays to any machine, by ssh."""

import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable

from tasks.base import environment, locks, proc, progress
from tasks.base.errors import UsageError, UserError
from tasks.base.node_names import node_name, number_of
from tasks.base.paths import ClusterDir, NodeDir
from tasks.build.overlay import iso, iso_words, ovl
from tasks.build.overlay.overlay_tar import OverlayBuild
from tasks.definitions.roles import role_of
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.project.project import After, Does, Project
from tasks.run.cluster import checks, ending, launch, plan
from tasks.run.node import node_state, qmp
from tasks.run.running import reach, windows
from tasks.run.running.cluster import running

LOCAL = ("127.0.0.1", "localhost")
BOOTS = ("boot_vm", "xvm", "svm")
SYNC = 10  # seconds for a node to write its buffers; one that is stuck is reset without


def injected(project: Project) -> list[OverlayBuild]:
    """The overlays that `inject` names, as they are packed for the environment of this run."""
    chosen = iso_words.choose(project)
    parts = iso.iso_parts(project, chosen)
    return [ovl.recipe(project, part.overlay, chosen) for part in parts if part.overlay]


def _refuse_early(project: Project) -> None:
    """Raise UserError for a node that cannot be booted, before anything is built for it."""
    if project.words.verb == "xvm":
        if not windows.possible():
            number = _number(project)
            raise UserError(
                "xvm opens a window, and there is none here: it needs DISPLAY and xterm",
                f"without a window: xc svm {number}, and then xc console {number}",
            )
        windows.check()
    own, node = _settings_and_node(project)
    _refuse_twice(project.workspace.cluster(own.name), node)
    alive = running(project.workspace.cluster(own.name))
    checks.before_builds(own, project.workspace, (node,), adds=bool(alive))


def _refuse_twice(directory: ClusterDir, node: Node) -> None:
    if node.number in running(directory):
        raise UserError(f"{node.name} is running already", f"remove it first: xc scalein {node.number}")


def _settings_and_node(project: Project) -> tuple[Settings, Node]:
    """The node that the verb names, and the settings with what the words say of it. UsageError."""
    number = _number(project)
    nets = project.words.options.get("nets")
    own = {f"append{number}": " ".join(project.words.args[1:]), f"nets{number}": nets}
    per_node = {**project.settings.per_node, **{key: value for key, value in own.items() if value}}
    cold = project.settings.cold or project.words.verb == "boot_vm"
    settings = project.settings.model_copy(update={"per_node": per_node, "cold": cold, "wait": "nodes"})
    try:
        return settings, settings.node_of(number)
    except ValueError:
        raise UsageError(f"boot_vm: --nets: '{nets}' is not a list of nets such as 0,1,2") from None


def _launch(project: Project) -> Node:
    """Add the node to the cluster if it runs, and begin one with it otherwise. Several may begin at once."""
    own, node = _settings_and_node(project)
    directory = project.workspace.cluster(own.name)
    with locks.locked(directory.lock.with_name(f".{own.name}.single.lock")):
        _refuse_twice(directory, node)
        survey = plan.survey(own, project.workspace, (node,))
        if running(directory):
            launch.add(plan.to_add(survey, (node,)))
        else:
            launch.start(plan.to_start(survey, (node,)))
    return node


def _boot_vm(project: Project) -> None:
    node, name = _launch(project), project.settings.name
    directory = project.workspace.cluster(name)
    place = directory.node(node.number)
    try:
        sys.stdout.write(place.console_log.read_text(errors="replace"))
        sys.stdout.flush()
        subprocess.run(_console(place), check=False, env=environment.of_programs())
    finally:
        ending.remove_node(directory, node.number)
        if not running(directory):
            ending.stop(project.workspace, name)


def _svm(project: Project) -> None:
    _launch(project)


def _xvm(project: Project) -> None:
    node = _launch(project)
    windows.consoles(project.workspace, project.settings.name, [node.number])


def _console(place: NodeDir) -> list[str]:
    """The command for the console. Without a terminal it ends with the node, not with our input."""
    command = reach.console_command(place, terminal=sys.stdin.isatty())
    return command if sys.stdin.isatty() else [word.replace("STDIO", "STDIO,ignoreeof") for word in command]


def _number(project: Project) -> int:
    word = project.words.args[0]
    try:
        number = number_of(word)
        role_of(number)
    except ValueError as error:
        raise UsageError(f"{project.words.verb}: {error}") from None
    return number


def _stop_vm(project: Project) -> None:
    async def halt(_: int, monitor: qmp.Monitor) -> None:
        await monitor.execute("stop")

    _do(project, halt)


def _reset_vm(project: Project) -> None:
    async def reset(_: int, monitor: qmp.Monitor) -> None:
        await monitor.execute("system_reset")
        await monitor.execute("cont")

    _do(project, reset)


def _do(project: Project, action: Callable[[int, qmp.Monitor], Awaitable[None]]) -> None:
    """Have the node write its buffers, then talk to its monitor."""
    number = reach.node_number(project, project.words.args[0])
    node_state.refuse_container(project.workspace.cluster(project.settings.name).node(number))
    command = reach.to_node(project, number, ["sync"])
    try:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SYNC, check=False,
            env=environment.of_programs(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        progress.say(f"{node_name(number)} does not answer: what it has not written yet may be lost")
    qmp.each([project.workspace.cluster(project.settings.name).node(number).qmp], action)


def _inject(project: Project) -> None:
    tars = [project.workspace.ovl(each.key) for each in injected(project)]
    options = project.words.options
    if not options.get("addr"):
        raise UsageError("inject: --addr=USER@HOST is needed", project.words.usage)
    ssh = [proc.need("ssh"), "-o", "LogLevel=ERROR"]
    if options.get("key"):
        ssh += ["-i", options["key"], "-o", "IdentitiesOnly=yes"]
    address, _, port = (
        options["addr"].rpartition(":") if options["addr"].count(":") == 1 else (options["addr"], "", "")
    )
    # Behind a port of this host is now one guest, now another: their keys say nothing.
    checking, hosts = (
        ["no", "/dev/null"] if address.rpartition("@")[2] in LOCAL else ["accept-new", "~/.ssh/known_hosts"]
    )
    ssh += ["-o", f"StrictHostKeyChecking={checking}", "-o", f"UserKnownHostsFile={hosts}"]
    remote = [*shlex.split(options.get("sudo", "")), "tar", "-C", "/", "-x"]
    for tar in tars:
        with tar.open("rb") as file:
            command = [*ssh, *(["-p", port] if port else []), address, *remote]
            done = subprocess.run(
                command, stdin=file, capture_output=True, text=True, check=False,
                env=environment.of_programs(),
            )  # fmt: skip
        if done.returncode:
            raise UserError(f"{tar.stem}: {proc.quoted(command)} failed: {done.stderr.strip()}")
        progress.say(f"{tar.stem} is on {address}")


def _packed(project: Project, cluster: list[str]) -> list[str]:
    return [f"ovl:{each.key}" for each in injected(project)] if project.words.verb == "inject" else []


def _built(project: Project, cluster: list[str]) -> list[str]:
    if project.words.verb in BOOTS:
        _refuse_early(project)
    return cluster


DOES: Does = {
    "boot_vm": _boot_vm, "xvm": _xvm, "svm": _svm, "stop_vm": _stop_vm, "reset_vm": _reset_vm,
    "inject": _inject,
}  # fmt: skip
AFTER: After = {**dict.fromkeys(BOOTS, _built), "inject": _packed}
