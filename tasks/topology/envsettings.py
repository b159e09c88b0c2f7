"""A topology ──> the file Envsettings, which upstream's scripts read before they start a cluster with it

They count on TOPOLOGY and the numbers of nodes afterwards. Nets and memory follow from the name here.
"""

from tasks.definitions.setting_forms import PLAIN_TOPOLOGY
from tasks.topology.schema import Topology

FILE = "Envsettings"
HEAD = """\
# shellcheck shell=sh disable=SC2154
# For scripts that are to start the topology {name}. Made of topology/{name}.yaml by `xc graph --docs docs`.
export TOPOLOGY={name}
"""
LEAST = '[ "${{{variable}:-0}}" -gt 0 ] || export {variable}={count}\n'


def places(topology: Topology) -> list[str]:
    """Where it is, below the overlay; the default topology is there under its other name too."""
    names = [topology.name, *(("default",) if topology.name == PLAIN_TOPOLOGY else ())]
    return [f"{name}/{FILE}" for name in names]


def text(topology: Topology) -> str:
    """What the file says. Routers are as many as the topology is made for; of others there may be more."""
    counts = topology.counts
    lines = [HEAD.format(name=topology.name)]
    if counts.nrouters is not None:
        lines.append(f"export __nrouters={counts.nrouters}\n")
    more = (("__nvm", counts.nvm), ("__ntesters", counts.ntesters))
    lines += [LEAST.format(variable=variable, count=count) for variable, count in more if count]
    return "".join(lines)
