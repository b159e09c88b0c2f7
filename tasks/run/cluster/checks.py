"""a plan ──checks──> nothing, or a UserError that says all that keeps the cluster from starting here

A start that is going to be refused must cost nobody a running cluster. So `early` refuses all that can be
refused, while the predecessor still runs; `late` what only shows when its ports and its memory are free.
"""

from collections.abc import Sequence
from pathlib import Path

from tasks.base import proc, process_facts, progress
from tasks.base.errors import UsageError, UserError
from tasks.base.paths import ClusterDir, Workspace
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.cluster.plan import Plan, Predecessor, held, predecessor
from tasks.run.net import selection, surroundings
from tasks.run.net.protocol import NetBackend
from tasks.run.node import accel, boot, container_layers, container_node, golden, kinds, qemu, qemu_trial
from tasks.run.node.protocol import Boot, NodeBackend
from tasks.run.node.qemu_options import usual_machine
from tasks.run.running import ports, state
from tasks.run.services import dns, fakenet

LONGEST_CMDLINE = 2047  # characters: COMMAND_LINE_SIZE of x86


def before_builds(
    settings: Settings, workspace: Workspace, nodes: tuple[Node, ...] | None = None, *, adds: bool = False
) -> None:
    """Refuse, before minutes are spent on builds, what no build can mend: all checks but those of artifacts.

    `nodes` are the nodes of the settings, or others. With `adds` they are added to the running ones.
    """
    _check_words(settings)
    settings = selection.decided(settings)
    directory = workspace.cluster(settings.name)
    _check_place(directory)
    own = ports.choose(settings, workspace)
    nodes = nodes or settings.nodes()
    _warn(settings, nodes)
    replaced = None if adds else predecessor(directory)
    problems = _machines(kinds.BACKEND, settings, nodes, replaced)
    problems += selection.of(settings).preflight(nodes, own, held(replaced, own))
    problems += selection.unused(settings)
    problems += _early_options(settings, workspace, nodes, replaced)
    problems += dns.preflight(settings, workspace) + fakenet.preflight(settings)
    if kinds.machines(nodes):
        problems += _accel(settings, workspace, boot.kernel(settings, workspace))
    _refuse(problems)


def early(plan: Plan, machines: NodeBackend, nets: NetBackend) -> None:
    """Refuse whatever can be refused while the predecessor runs: what it holds counts as free."""
    _check_words(plan.settings)
    _check_place(plan.directory)
    problems = _machines(machines, plan.settings, plan.nodes, plan.predecessor)
    problems += nets.preflight(plan.nodes, plan.ports, plan.held)
    problems += dns.preflight(plan.settings, plan.workspace) + fakenet.preflight(plan.settings)
    problems += plan.checkpoint.damage() if plan.checkpoint else []
    if plan.boot:
        problems += boot.missing(plan.settings, plan.workspace, plan.boot)
        problems += _accel(plan.settings, plan.workspace, plan.boot.kernel)
        problems += _options(plan.boot, plan.settings, plan.nodes, plan.predecessor)
    if kinds.containers(plan.nodes):
        problems += container_layers.missing(plan.settings, plan.workspace)
    _refuse(problems)


def _early_options(
    settings: Settings, workspace: Workspace, nodes: Sequence[Node], predecessor: Predecessor | None
) -> list[str]:
    """As `_options`, if what nodes are started from is there from an earlier build."""
    if not settings.kvm_opt and not settings.append and not settings.per_node and usual_machine(settings):
        return []
    if not kinds.machines(nodes):
        return []
    try:
        plain, _ = golden.ordinary(settings, workspace)
    except UserError:
        return []
    return _options(plain, settings, nodes, predecessor)


def _options(
    plain: Boot, settings: Settings, nodes: Sequence[Node], predecessor: Predecessor | None
) -> list[str]:
    """What only the kernel or QEMU can say of options that the user sets for them."""
    machines = kinds.machines(nodes)
    problems = qemu_trial.complaints(plain, settings, machines[0], replaces=predecessor is not None)
    lengths = {each.name: len(qemu.cmdline(plain, each)) for each in machines}
    longest = max(lengths, key=lambda name: lengths[name])
    if lengths[longest] > LONGEST_CMDLINE:
        text = f"the kernel command line of {longest} has {lengths[longest]} characters"
        problems.append(f"{text}, and the kernel reads {LONGEST_CMDLINE}: use a shorter --append")
    return problems


def late(plan: Plan, machines: NodeBackend, nets: NetBackend) -> None:
    """Look again at ports and memory, now that the predecessor has ended."""
    _refuse(machines.preflight(plan.settings, plan.nodes) + list(nets.preflight(plan.nodes, plan.ports)))


def _warn(settings: Settings, nodes: Sequence[Node]) -> None:
    """Say what hinders nobody from starting."""
    for line in surroundings.warnings(nodes, settings.net):
        progress.say(f"warning: {line}")
    for line in container_node.notes(settings, nodes) + container_node.unlimited(nodes):
        progress.say(line)
    if settings.net_setup and settings.net != "custom":
        progress.say(f"net_setup is not used with net={settings.net}: {settings.net_setup}")


def _check_words(settings: Settings) -> None:
    if settings.wait == "ready" and not settings.kubernetes:
        raise UsageError("--wait=ready needs a cluster with Kubernetes", "start one: xc start --image=k8s")


def _check_place(directory: ClusterDir) -> None:
    obstacle = state.obstacle(directory)
    if obstacle:
        raise obstacle


def _accel(settings: Settings, workspace: Workspace, kernel: Path | None) -> list[str]:
    """Why KVM cannot be used, if the setting demands it. With `auto` the nodes are emulated instead."""
    why = accel.unusable(workspace, kernel) if settings.accel == "kvm" and proc.find(qemu.QEMU) else None
    return [f"accel=kvm: {why}"] if why else []


def _machines(
    machines: NodeBackend, settings: Settings, nodes: Sequence[Node], predecessor: Predecessor | None
) -> list[str]:
    """What the node backend lacks. The memory of running nodes is only read when it matters: that is slow."""
    problems = machines.preflight(settings, nodes)
    if not problems or not predecessor:
        return problems
    freed = sum(map(process_facts.real_memory, predecessor.pids)) >> 10
    return machines.preflight(settings, nodes, freed)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise UserError("this cluster cannot start here:\n" + "\n".join(f"  {line}" for line in problems))
