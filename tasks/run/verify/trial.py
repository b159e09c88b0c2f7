"""The checks of a running cluster: what its topology promises, and whether anything is left after its end."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tasks.base import helper, proc
from tasks.base.errors import CommandError
from tasks.base.node_names import node_name
from tasks.definitions import iso_choice
from tasks.definitions.addresses import v4
from tasks.definitions.roles import role_of
from tasks.project.project import Project
from tasks.run.inspect import graph
from tasks.run.running import processes, reach
from tasks.run.running.cluster import Running
from tasks.run.services import dns
from tasks.run.verify import probe
from tasks.run.verify.probe import Probe
from tasks.run.verify.results import Outcome
from tasks.topology import reachability
from tasks.topology.netplan import NodePlan

Finding = tuple[str, Outcome, str, float]
AT_ONCE = 8  # nodes that are asked at the same time
LOGIN = 60  # seconds for all probes of one node
OURS = ("xcbr", "xct", "xcup")  # names of links begin so; namespaces end with the last process in them
SERVER = Path(__file__).parents[1] / "net" / "programs" / "outside.py"
OUTSIDE = "198.51.100.1"  # RFC 5737: nobody's
PORT = 8080
PATIENCE = 10.0  # seconds for that server to come up


def nodes(project: Project, only: int | None = None) -> Iterator[Finding]:
    """Check that each node is the right one and reaches what the topology promises; `only` for one node."""
    topology, shape, plans = graph.standing(project, project.settings)
    probes: dict[int, list[Probe]] = {number: [] for number in plans}
    for pair in reachability.promised(topology, plans, shape):
        if only in (None, pair.source, pair.to):
            probes[pair.source] += _probes(plans[pair.source], pair, shape.mtu)
    for number in probes if project.settings.dns != "off" and _knows_names(project) else ():
        probes[number] += _names(project, plans, number)
    if only is not None:
        probes = {number: own for number, own in probes.items() if own or number == only}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for findings in pool.map(lambda number: _ask(project, number, probes[number]), sorted(probes)):
            yield from findings


def _probes(source: NodePlan, pair: reachability.Promised, mtu: int) -> list[Probe]:
    probes = [Probe("ping", pair.address(family), family, mtu) for family in reachability.FAMILIES]
    return [*probes, Probe("ssh", pair.v4)] if source.role == "tester" else probes


def _knows_names(project: Project) -> bool:
    """Whether nodes have a DNS server of their own."""
    packed = iso_choice.recorded(project.workspace.choice(project.settings.name))
    return packed is not None and "dns" in packed.words


def _names(project: Project, plans: Mapping[int, NodePlan], number: int) -> list[Probe]:
    """Each node asks its server for the name of the next node; the first one also for the long name."""
    numbers = sorted(plans)
    after = plans[numbers[(numbers.index(number) + 1) % len(numbers)]]
    own = [address.v4 for each in after.interfaces if each.name != "eth0" for address in each.addresses[:1]]
    want = (own or [v4(0, after.number)])[0]
    domain = "" if project.settings.name == dns.DOMAIN else f"{project.settings.name}."
    long = f"{after.name}.{domain}{dns.DOMAIN}"
    named = [after.name, long] if number == numbers[0] else [after.name]
    return [Probe("name", name, want=want) for name in named]


def _ask(project: Project, number: int, probes: Sequence[Probe]) -> list[Finding]:
    """Log in once, and run all probes of this node."""
    name = node_name(number)
    try:
        output = _run(project, number, f"hostname; {probe.script(probes)}")
    except CommandError as error:
        return [(f"{name} answers", "failed", str(error), 0.0)]
    who = output.partition("\n")[0]
    results = [_finding(f"{name} answers ssh", "" if who == name else f"it says it is {who}")]
    outcomes = probe.outcomes(probes, output)
    results += [
        _finding(f"{name} to {each.text}", why) for each, why in zip(probes, outcomes, strict=True)
    ]  # fmt: skip
    pieces = probe.pieces(output)
    why = f"{pieces} packets were cut, so a net has a smaller MTU" if pieces else ""
    return [*results, _finding(f"{name} cut no packet into pieces", why)]


def _finding(name: str, why: str) -> Finding:
    return name, "failed" if why else "ok", why, 0.0


def _run(project: Project, number: int, script: str, *, through: Sequence[str] = ()) -> str:
    command = reach.to_node(project, number, [script])
    return proc.output(["timeout", str(LOGIN), *command[:1], *through, *command[1:]]).decode(errors="replace")


def inside(project: Project) -> Iterator[Finding]:
    """A login over the nets of the cluster: from a tester to a node that it has been promised."""
    topology, shape, plans = graph.standing(project, project.settings)
    pairs = reachability.promised(topology, plans, shape)
    pair = next((each for each in pairs if plans[each.source].role == "tester"), None)
    if pair is None:
        yield "a login from a tester", "skipped", "there is no tester", 0.0
        return
    name = f"a login from {node_name(pair.source)} to {node_name(pair.to)} at {pair.v4}"
    way = reach.to_node(project, pair.source, ["nc", pair.v4, "22"])
    try:
        who = _run(project, pair.to, "hostname", through=["-o", f"ProxyCommand={shlex.join(way)}"]).strip()
    except CommandError as error:
        yield _finding(name, str(error))
        return
    yield _finding(name, "" if who == node_name(pair.to) else f"it says it is {who}")


def outside(project: Project) -> Iterator[Finding]:
    """Check that a server outside sees the router's address for whoever comes over a router."""
    _, _, plans = graph.standing(project, project.settings)
    hidden = {number: gate for number in plans if (gate := _gate(plans, number))}
    if not hidden:
        yield "a server outside", "skipped", "no node leaves the cluster by a router that translates", 0.0
        return
    running = Running.get(project.workspace, project.settings.name)
    if project.settings.net != "bridge":
        why = f"with net={project.settings.net} no server can be put outside of net 0"
        yield "a server outside", "skipped", why, 0.0
        return
    gates = sorted({v4(0, number) for number, node in plans.items() if node.nat})
    log = running.directory.root / "outside.log"
    words = [sys.executable, "-I", "-S", str(SERVER), OUTSIDE, str(PORT), *gates]
    inside = running.backend.inside(running.directory)
    server = proc.spawn([*inside, *words], log, env=helper.environment(running.directory.root))
    try:
        _until_ready(server.poll, log)
        for number in _one_of_each(plans, hidden):
            ask = Probe("http", f"http://{OUTSIDE}:{PORT}/", want="translated")
            output = _run(project, number, probe.script([ask]))
            (why,) = probe.outcomes([ask], output)
            yield _finding(f"{node_name(number)} to a server outside, translated by a router", why)
    finally:
        server.terminate()
        server.wait()


def _until_ready(ended: Callable[[], object], log: Path) -> None:
    """Wait for the server: until it has its address, a node would ask somebody else."""
    until = time.monotonic() + PATIENCE
    while b"ready" not in log.read_bytes() and ended() is None and time.monotonic() < until:
        time.sleep(0.01)


def _one_of_each(plans: Mapping[int, NodePlan], hidden: Mapping[int, int]) -> list[int]:
    """The first node of each group behind each router."""
    firsts: dict[tuple[str | None, int], int] = {}
    for number in sorted(hidden):
        firsts.setdefault((plans[number].group, hidden[number]), number)
    return sorted(firsts.values())


def _gate(plans: Mapping[int, NodePlan], number: int) -> int | None:
    """The router that translates what this node sends outside; None if there is none, or the node is one."""
    node, seen = plans[number], {number}
    came = None
    while not node.uplink:
        ways = [way for way in node.routes if way.to4 == "0.0.0.0/0" and not way.bound_to and way.hops]
        hop = ways[0].hops[0] if ways else None
        if hop is None or hop.number not in plans or hop.number in seen:
            return None
        came = came or hop.net
        node = plans[hop.number or 0]
        seen.add(node.number)
    return node.number if node.number != number and came in node.nat else None


def one_more(project: Project) -> int | None:
    """The number of a node that could be added."""
    topology, _, plans = graph.standing(project, project.settings)
    free = [*topology.scaleout, *range(1, 200)]
    return next((n for n in free if n not in plans and topology.group_of(n) and role_of(n) == "vm"), None)


def marks(project: Project, cluster: str) -> frozenset[str]:
    """What a running cluster shows on this host: links, sockets, files, processes."""
    directory = project.workspace.cluster(cluster)
    root = directory.root
    links = {f"link {link}" for link in os.listdir("/sys/class/net") if link.startswith(OURS)}
    sockets = {
        line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines() if str(root) in line
    }
    own = {f"file {root}"} if root.exists() else set()
    marked = {f"process {each.mark.pid} {' '.join(each.argv)[:80]}" for each in processes.of(directory)}
    return frozenset(links | own | marked | {f"socket {each}" for each in sockets} | _processes(root))


def _processes(root: Path) -> set[str]:
    """Processes that have something of the cluster on their command line."""
    entries = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{root}/" in f"{line} " or f"{root} " in line:
            entries.add(f"process {folder.name} {line[:80]}")
    return entries


def left(project: Project, cluster: str, before: frozenset[str]) -> list[str]:
    """The marks that are there now and were not there before."""
    return sorted(marks(project, cluster) - before)
