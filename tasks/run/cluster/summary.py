"""a plan that was carried out ──> the lines that a start says at its end"""

from tasks.base import process_facts, progress
from tasks.run.cluster.plan import Plan
from tasks.run.net.protocol import NetBackend
from tasks.run.running import ports
from tasks.run.running.cluster import running


def lines(plan: Plan, nets: NetBackend, seconds: float) -> list[str]:
    """Where ports have moved to, and what the nodes cost."""
    return [*_moved(plan, nets), _of_nodes(plan, nets, seconds)]


def _moved(plan: Plan, nets: NetBackend) -> list[str]:
    """What is to be said of ports that are others than those that people expect."""
    if nets.ssh(plan.directory, plan.nodes[0].number, plan.ports)[1] == ports.SSH:
        return []  # nodes are reached themselves
    return ports.moved(plan.settings, plan.workspace, plan.ports)


def _of_nodes(plan: Plan, nets: NetBackend, seconds: float) -> str:
    of_nets = nets.processes(plan.directory).values()
    pids = (*running(plan.directory).values(), *of_nets)
    real = sum(process_facts.real_memory(pid) for pid in pids if pid) / 1024
    configured = sum(node.mem for node in plan.nodes)
    nodes = f"{len(plan.nodes)} node{'s' if len(plan.nodes) > 1 else ''}"
    return (
        f"{nodes} {'restored ' if plan.checkpoint else ''}in {seconds:.1f} s, "
        f"accel={plan.accel} ({plan.accel_reason}), net={plan.settings.net} ({plan.net_reason}), "
        f"{real:.0f} MiB real memory ({configured} MiB configured), "
        f"{progress.amount(progress.downloaded())} downloaded"
    )
