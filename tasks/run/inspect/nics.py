"""A word like `3 eth1` ──> the NIC of a running node, and its cable."""

import re
from dataclasses import dataclass
from functools import cached_property

from tasks.base.errors import UserError
from tasks.base.paths import NodeDir
from tasks.definitions.schema import Node
from tasks.project.project import Project
from tasks.run.node import kinds, node_state
from tasks.run.node.protocol import Cable
from tasks.run.running import reach
from tasks.run.running.cluster import Running


@dataclass(frozen=True)
class Plugged:
    """A NIC of a running node."""

    node: Node
    own: NodeDir
    index: int
    cluster: Running

    @cached_property
    def cable(self) -> Cable:
        """What can be done to it. Raises UserError when the cluster's nets are gone."""
        inside = self.cluster.backend.inside(self.cluster.directory)
        return kinds.cable(self.node, self.own, self.index, inside)

    @property
    def name(self) -> str:
        """The guest's name of the NIC, such as eth1."""
        return f"eth{self.index}"

    @property
    def text(self) -> str:
        """Node and NIC, for messages."""
        return f"{self.name} of {self.node.name}"


def of_node(project: Project, word: str) -> list[Plugged]:
    """The NICs of the node in `word`, eth0 first. Raises UserError when it is not there or does not run."""
    number = reach.node_number(project, word)
    running = Running.get(project.workspace, project.settings.name)
    own = running.node(number)
    if running.pid(number) is None:
        raise UserError(f"{own.root.name} does not run", "see which nodes run: xc status")
    node = node_state.read(own).node
    return [Plugged(node, own, index, running) for index in range(len(node.nets))]


def there(project: Project, word: str, interface: str) -> Plugged | None:
    """The NIC `interface` of the node in `word`; None for an interface that is none of its NICs."""
    return next((nic for nic in of_node(project, word) if nic.name == interface), None)


def is_numbered(interface: str) -> bool:
    """Whether this is what NICs are called."""
    return re.fullmatch(r"eth\d+", interface) is not None


def find(project: Project, word: str, interface: str) -> Plugged:
    """The NIC `interface` of the node in `word`. Raises UserError that lists those there are."""
    own = of_node(project, word)
    for nic in own:
        if nic.name == interface:
            return nic
    names = ", ".join(f"{nic.name} (net {nic.node.nets[nic.index]})" for nic in own)
    raise UserError(f"{own[0].node.name} has no interface '{interface}'", f"there are: {names}")
