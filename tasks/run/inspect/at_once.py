"""rsh, status, stop and logs in the ordinary case, from a glance at the cluster.

The answer is the same as that of the module that the table of verbs names. In any other case there is no
answer here, and that module is called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.base import output, progress
from tasks.base.errors import UserError
from tasks.base.node_names import node_name, number_of
from tasks.project.command_line import Words
from tasks.project.place import Place
from tasks.run.running import absent, glance, ssh_words
from tasks.run.running.glance import ClusterView, NodeView, Unsure

ROLES = (("tester", 221), ("router", 201), ("vm", 1))


@dataclass(frozen=True, eq=False, repr=False)
class Request:
    """A verb, and the cluster that it is for."""

    words: Words
    place: Place

    @property
    def run(self) -> str:
        """The directory of running clusters."""
        return os.path.join(self.place.workspace, "run")

    def view(self) -> ClusterView | None:
        """The cluster. Raises Unsure."""
        return glance.look(self.run, self.place.cluster)

    def node(self) -> NodeView:
        """The node that the first word names. Raises Unsure where it is not there."""
        number, cluster = self.number(), self.view()
        node = next((node for node in cluster.nodes if node.number == number), None) if cluster else None
        if node is None:
            raise Unsure
        return node

    def number(self) -> int:
        """The number in `3`, `003` or `vm-003`. Raises Unsure for another word, UserError for no node."""
        try:
            number = number_of(self.words.args[0])
        except ValueError:
            raise Unsure from None
        numbers = glance.numbers(os.path.join(self.run, self.place.cluster))
        if not numbers:
            raise Unsure
        if number not in numbers:
            nodes = ", ".join(map(str, numbers))
            raise UserError(
                f"cluster '{self.place.cluster}' has no running node {number}",
                f"there are: {nodes}",
            )
        return number


def answer(words: Words, place: Place) -> int | None:
    """Do the verb; the exit code, or None when it takes more than a glance."""
    try:
        return VERBS[words.verb or ""](Request(words, place))
    except Unsure:
        return None


def _status(request: Request) -> int:
    if "all" in request.words.options:
        raise Unsure
    cluster = request.view()
    alive = [node for node in cluster.nodes if node.pid] if cluster else []
    if "quiet" in request.words.options:
        return min(len(alive), 255)
    if request.words.json:
        output.as_json(_facts(cluster) if cluster else None)
    elif cluster is None:
        progress.say(absent.sentence(request.run, request.place.cluster))
    else:
        sys.stdout.write(_text(cluster))
    return 0


def _facts(cluster: ClusterView) -> dict[str, object]:
    nodes = [
        {
            "name": node.name,
            "number": node.number,
            "role": _role(node.number),
            "pid": node.pid,
            "state": "alive" if node.pid else "dead",
            "kind": node.kind,
            "host": node.host,
            "ssh": node.ssh,
        }
        for node in cluster.nodes
    ]
    return {**vars(cluster), "dead": list(cluster.dead), "damaged": [], "nodes": nodes}


def _text(cluster: ClusterView) -> str:
    facts = f"kernel {cluster.kernel}, image {cluster.image}, accel {cluster.accel}, net {cluster.net}"
    lines = [f"{cluster.name}: {facts}\n"]
    lines += [f"  nets: the {name} has died: xc stop, or xc start\n" for name in cluster.dead]
    for node in cluster.nodes:
        state = "alive" if node.pid else "dead"
        where = f"ssh {node.host}:{node.ssh}  pid {node.pid}{'  container' * (node.kind == 'container')}"
        lines.append(f"  {node.name}  {_role(node.number):<7} {state:<5} {where}\n")
    return "".join(lines)


def _role(number: int) -> str:
    return next(role for role, first in ROLES if number >= first)


def _stop(request: Request) -> int:
    # A server of the DNS for a cluster that has crashed is ended by `stop` too; what scripts keep is removed.
    if os.path.isdir(os.path.join(request.place.workspace, "tmp", request.place.cluster)):
        raise Unsure
    if request.words.json or {"dry_run", "all"} & set(request.words.options):
        raise Unsure
    if os.path.isdir(os.path.join(request.run, ".dns")) or request.view() is not None:
        raise Unsure
    progress.say(absent.sentence(request.run, request.place.cluster))
    return 0


def _rsh(request: Request) -> int:
    node = request.node()
    keys = os.path.join(request.place.workspace, "keys")
    own = os.path.join(keys, "id_ed25519")
    host_keys = os.path.join(keys, request.place.cluster, "known_hosts")
    program = _find("ssh")
    if program is None or node.pid is None or not (os.path.isfile(own) and os.path.isfile(host_keys)):
        raise Unsure
    command = list(request.words.args[1:])
    if "bg" in request.words.options:
        command = ssh_words.background(command)
    options = ssh_words.options(own, host_keys, f"{request.place.cluster}-{node.name}")
    sys.stdout.flush()
    os.execv(program, [program, *options, "-p", str(node.ssh), f"root@{node.host}", *command])


def _find(program: str) -> str | None:
    folders = os.environ.get("PATH", "").split(":")
    paths = (os.path.join(folder, program) for folder in folders if folder)
    return next((path for path in paths if os.access(path, os.X_OK) and os.path.isfile(path)), None)


def _logs(request: Request) -> int:
    folder = os.path.join(request.run, request.place.cluster, node_name(request.number()))
    log = os.path.join(folder, "events.log" if "events" in request.words.options else "console.log")
    if not os.path.isfile(log):
        raise Unsure
    sys.stdout.flush()
    with open(log, "rb") as file:
        while block := file.read(1 << 20):
            sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()
    return 0


VERBS: Mapping[str, Callable[[Request], int]] = {"status": _status, "stop": _stop, "rsh": _rsh, "logs": _logs}
