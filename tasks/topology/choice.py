"""Which topology a cluster has, and which settings follow from it.

It is named by --topology, TOPOLOGY, __topology or xcluster_TOPOLOGY, else by the environment that the overlay
ISO was made in, else by xcluster.yaml; else it is the default. A running cluster keeps its own when scaled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.base.node_names import node_name
from tasks.definitions import setting_forms
from tasks.definitions.setting_layers import SettingsLayer
from tasks.definitions.settings import Settings
from tasks.topology.netplan import ClusterShape
from tasks.topology.schema import Group, Topology

OF_NODES = ("mem", "smp", "node")  # settings of single nodes that a topology, or a group of it, may have
VARIABLE = "xcluster_TOPOLOGY"  # upstream's, which overlay env hands to guests as TOPOLOGY


@dataclass(frozen=True)
class Named:
    """The name of a topology, and the place that named it."""

    name: str
    place: str = ""  # "": nowhere, it is the default

    @property
    def above_file(self) -> bool:
        """Whether its settings count more than xcluster.yaml.

        They do unless that file names the topology itself, or no place names one.
        """
        return self.place not in ("", "xcluster.yaml")


def named(
    words: Mapping[str, str], environ: Mapping[str, str], file: Mapping[str, Any], packed: Mapping[str, str]
) -> Named:
    """The first place that names a topology. `packed` is the environment that the overlay ISO was made in."""
    places = (
        ("--topology", words.get("topology")),
        ("TOPOLOGY", environ.get("TOPOLOGY")),
        ("__topology", environ.get("__topology")),
        (VARIABLE, environ.get(VARIABLE)),
        (f"{VARIABLE} of the last mkcdrom", packed.get(VARIABLE)),
        ("xcluster.yaml", file.get("topology")),
    )
    names = ((str(name), place) for place, name in places if name)
    name, place = next(names, (setting_forms.PLAIN_TOPOLOGY, ""))
    return Named(setting_forms.topology_name(name), place)


def layer(topology: Topology, naming: Named) -> SettingsLayer:
    """The settings that a topology asks for: counts, nets and sizes, by role or by node."""
    values: dict[str, Any] = {"topology": topology.name, **topology.node_counts}
    values |= {key: value for key in OF_NODES if (value := getattr(topology, key)) is not None}
    for name, group in topology.groups.items():
        nets = ",".join(["0", *(str(link.net) for link in group.links)])
        if group.role:
            values[f"nets_{group.role}"] = nets
        for number in _numbers(topology, name, group):
            if not group.role:
                values[f"nets{number}"] = nets
            values |= {f"{key}{number}": value for key in OF_NODES if (value := getattr(group, key))}
    return SettingsLayer(f"topology {topology.name}: ", values, naming.above_file)


def foreign(naming: Named) -> SettingsLayer:
    """That a cluster has a topology of which no file of ours tells more than the name."""
    return SettingsLayer(f"topology {naming.name}: ", {"topology": naming.name}, naming.above_file)


def _numbers(topology: Topology, name: str, group: Group) -> list[int]:
    inside = [number for first, last in group.ranges for number in range(first, last + 1)]
    return [number for number in inside if topology.group_of(number) == name]


def shape(
    chosen: Settings, more: tuple[int, ...] = (), packed: Mapping[str, str] | None = None
) -> ClusterShape:
    """The shape of a cluster with these settings, and with the nodes `more` in addition to their counts.

    `packed` is the environment that its overlays were made in: each xcluster_X is a variable X of guests.
    """
    variables = {key[9:]: value for key, value in (packed or {}).items() if key.startswith("xcluster_")}
    counts = (chosen.nvm, chosen.nrouters, chosen.ntesters)
    return ClusterShape(*counts, more, prefix=chosen.prefix, mtu=chosen.mtu, variables=variables)


def homeless(topology: Topology, chosen: Settings, numbers: tuple[int, ...]) -> list[str]:
    """One sentence for each node that the topology has no place for, unless a setting names its nets."""
    return [
        f"topology {topology.name} has no place for {node_name(number)}; to start it without routes and "
        f"addresses, say on which nets it is: --nets{number}=0,1"
        for number in numbers
        if topology.group_of(number) is None and f"nets{number}" not in chosen.per_node
    ]
