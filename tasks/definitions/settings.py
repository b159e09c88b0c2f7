"""Settings. First to last count: the command line, the environment (`__name`), xcluster.yaml, the defaults.

What a topology sets counts less than the environment. It counts more than an xcluster.yaml that does not name
the topology.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tasks.base.errors import unknown
from tasks.definitions import upstream_names, written
from tasks.definitions.addresses import v6
from tasks.definitions.artifact_sources import Name
from tasks.definitions.complaints import complaint
from tasks.definitions.roles import FIRST, Role, role_of
from tasks.definitions.schema import Node, NodeKind
from tasks.definitions.setting_forms import (
    LISTS,
    PLAIN_TOPOLOGY,
    ClusterName,
    DnsProgram,
    Mebibytes,
    Mirrors,
    Mtu,
    Nets,
    Prefix,
    Seconds,
    Switch,
    Url,
    UrlList,
    Whole,
    topology_name,
)
from tasks.definitions.setting_layers import SettingsLayer, layers, place
from tasks.formats.yaml_core import shortened

# Settings that can be given for one node: --mem201=384, __smp3=1, __nets10=0,3, __append2=debug.
PER_NODE = ("mem", "smp", "nets", "append", "node")
_PER_NODE = re.compile(rf"^({'|'.join(PER_NODE)})([1-9][0-9]{{0,2}})$")


class Settings(BaseModel):
    """Every setting with its default. Names are upstream's where upstream has the setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nvm: Whole = Field(4, ge=0, le=200, description="cluster nodes, vm-001 and up")
    nrouters: Whole = Field(2, ge=0, le=20, description="routers, vm-201 and up")
    ntesters: Whole = Field(0, ge=0, le=20, description="testers, vm-221 and up")
    mem: Mebibytes = Field(
        128, ge=32, le=65536, description="memory of a node: MiB, or a size as 512M or 1.5G"
    )
    smp: Whole = Field(2, ge=1, le=8, description="CPUs of a node")
    node: NodeKind = Field(
        "vm", description="what a node is: a virtual machine, or a container with the host's kernel"
    )
    cgroups: Switch = Field(
        False, description="containers have cgroups of their own, as Kubernetes needs; an image may set this"
    )
    topology: Annotated[Name, BeforeValidator(topology_name)] = Field(
        PLAIN_TOPOLOGY, description="nets, routers and routes; it sets nets, counts and memory (see xc graph)"
    )
    nets_vm: Nets = Field("0,1", description="nets of a cluster node: eth0 on the first, and so on")
    nets_router: Nets = Field("0,1,2", description="nets of a router")
    nets_tester: Nets = Field("0,2", description="nets of a tester")
    mtu: Mtu = Field(1500, le=65535, description="MTU of every net in bytes, at least 1280 as IPv6 needs")
    kernel: Name = Field("debian", description="kernel/<name>.yaml")
    image: Name = Field("base", description="images/<name>/")
    k8sver: str = Field(
        "", description="version of Kubernetes; default: first in ovl/kubernetes/versions.yaml"
    )
    ovls: str = Field("env network-topology", description="overlays of a cluster before the first mkcdrom")
    append: str = Field("", description="added to the kernel command line")
    machine: str = Field("pc", description="QEMU's machine type")
    kvm_opt: str = Field("", description="added to QEMU's command line")
    accel: Literal["auto", "kvm", "tcg"] = Field("auto", description="auto boots a tiny guest to try KVM")
    net: Literal["auto", "userspace", "bridge", "custom"] = Field(
        "auto", description="network backend; auto takes bridge where it works, else userspace"
    )
    net_setup: str = Field("", description="program that sets up each NIC: called with NODE NET")
    dns: Literal["auto", "on", "off"] = Field(
        "auto", description="DNS server on the host, port 10053; auto: none if it cannot be started"
    )
    dns_server: DnsProgram = Field("auto", description="program of that server; auto: coredns if it is there")
    dns_hosts: str = Field("", description="file of more names for the DNS server, as in /etc/hosts")
    name: ClusterName = Field("xcluster", description="name of the cluster; several run side by side")
    timeout: Seconds = Field(
        120,
        ge=1,
        le=86400,
        description="how long to wait for the nodes, and then for Kubernetes: seconds, or as 5m or 1h30m",
    )
    kubernetes: Switch = Field(False, description="nodes run Kubernetes; an image may set this itself")
    k8s_family: Literal["dual", "ipv4", "ipv6"] = Field(
        "dual", description="address families of Kubernetes; SETUP=ipv4 or SETUP=ipv6 sets it too"
    )
    k8s_proxy_mode: Literal["iptables", "ipvs", "nftables"] = Field(
        "iptables", description="mode of kube-proxy; the variable K8S_PROXY_MODE sets it too"
    )
    wait: Literal["nodes", "ready"] = Field(
        "nodes", description="wait until the nodes answer, or until Kubernetes is ready too"
    )
    api_base: Whole = Field(7443, ge=1024, le=65000, description="first port to try for the Kubernetes API")
    fakenet: Switch = Field(False, description="pretend an internet: every name resolves, and answers http")
    cold: Switch = Field(False, description="boot every node; do not clone the golden snapshot")
    keep: Switch = Field(False, description="keep a cluster that did not come up, to look at it")
    xterm: Switch = Field(True, description="start opens consoles in xterm windows where there is a display")
    telnet: Switch = Field(False, description="telnet without password, forwarded at 127.0.0.1:12000+N")
    blank_password: Switch = Field(False, description="root logs in by ssh with an empty password")
    ssh_base: Whole = Field(12300, ge=1024, le=65000, description="ssh to node N is at 127.0.0.1 port base+N")
    telnet_base: Whole = Field(12000, ge=1024, le=65000, description="telnet to node N, as ssh_base")
    prefix: Prefix = Field("fd00:", description="IPv6 prefix: addresses are <prefix>:192.168.<net>.<N>")
    suite: Name = Field("bookworm", description="Debian suite of packages where a definition names none")
    mirror: str = Field("", description="URL of a Debian archive; default: the one apt is set up with")
    registry_mirrors: Mirrors = Field(
        "", description="container registries to ask first: PREFIX=[http://]HOST[/PATH] ..."
    )
    registry_insecure: str = Field("", description="container registries without a certificate, by host")
    mirrors: dict[Url, UrlList] = Field(
        default_factory=dict, description="mirrors of URLs, by prefix; only in xcluster.yaml"
    )
    download_timeout: Seconds = Field(60, ge=1, le=86400, description="give up what brings <1 KiB/s so long")
    offline: Switch = Field(False, description="never use the network: what is not in the cache is an error")
    per_node: dict[str, str] = Field(default_factory=dict, description="mem201: 384 and the like")

    def nodes(self) -> tuple[Node, ...]:
        """All nodes that these settings ask for."""
        counts: dict[Role, int] = {"vm": self.nvm, "router": self.nrouters, "tester": self.ntesters}
        return tuple(self.node_of(FIRST[role] + i) for role, count in counts.items() for i in range(count))

    def plain_node(self, number: int) -> Node:
        """Node `number` as it is without settings of its own, but for its nets."""
        kept = {key: value for key, value in self.per_node.items() if key.startswith("nets")}
        return self.model_copy(update={"per_node": kept}).node_of(number)

    def node_of(self, number: int) -> Node:
        """Node `number`, its own settings (mem201) applied."""
        role = role_of(number)
        nets = {"vm": self.nets_vm, "router": self.nets_router, "tester": self.nets_tester}[role]
        own = {key: self.per_node.get(f"{key}{number}") for key in PER_NODE}
        return Node(
            number=number,
            role=role,
            mem=int(own["mem"] or self.mem),
            smp=int(own["smp"] or self.smp),
            nets=tuple(int(net) for net in (own["nets"] or nets).split(",")),
            mtu=self.mtu,
            append=" ".join(part for part in (self.append, own["append"]) if part),
            kind=cast(NodeKind, own["node"] or self.node),
        )


def is_setting(name: str) -> bool:
    """Whether `name` (without leading dashes, and with _ for -) is a setting, of all nodes or of one."""
    return (name in Settings.model_fields and name != "per_node") or _PER_NODE.match(name) is not None


def names() -> list[str]:
    """The settings by name."""
    return [name for name in Settings.model_fields if name not in ("per_node", "mirrors")]


def load(
    words: Mapping[str, str],
    environ: Mapping[str, str],
    file: Mapping[str, Any],
    *others: SettingsLayer,
) -> tuple[Settings, list[str]]:
    """The effective settings and a list of problems. A setting whose value is wrong has its default.

    `words` are the options of the command line, `environ` is the process environment, `file` the content of
    xcluster.yaml. `others` are the settings of topology and image; the one that counts least comes first.
    A variable that is no setting is left to overlays; an unknown option or key of the file is a problem.
    """
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    problems = []
    for where, layer in layers(words, environ, file, others):
        for key, value in layer.items():
            name = str(key).replace("-", "_")
            if not is_setting(name) or (name == "mirrors" and where != "xcluster.yaml: "):
                problems.append(where + unknown("setting", name, names()))
                continue
            if value is None:
                continue
            for each in others:
                if where != each.where:
                    _outdo(merged, origin, name, each.where)
            origin[name] = place(where, name, environ)
            try:
                _put(merged, name, value)
            except ValueError as error:
                problems.append(f"{origin[name]}: {error}")
    settings, wrong = _checked(merged, origin)
    return settings, problems + wrong


def _checked(merged: dict[str, Any], origin: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings, where each one that is wrong has its default, and what is wrong."""
    try:
        settings, problems = Settings(**merged), []
    except ValidationError as error:
        problems = list(dict.fromkeys(_problem(detail, origin) for detail in error.errors()))
        bad = {detail["loc"][0] for detail in error.errors()}
        settings = Settings(**{name: value for name, value in merged.items() if name not in bad})
    per_node, wrong = _of_single_nodes(settings.per_node, origin)
    settings = settings.model_copy(update={"per_node": per_node})
    return settings, [*problems, *wrong, *_check(settings, origin)]


def _put(merged: dict[str, Any], name: str, value: Any) -> None:
    """Set it, a scalar as it was written. Raises ValueError for a list or keys in place of one value."""
    value = written.plain(value)
    between = LISTS.get("nets" if name.startswith("nets") else name.rstrip("0123456789"))
    if isinstance(value, list) and between and not any(isinstance(each, list | dict) for each in value):
        value = between.join(map(str, value))
    elif isinstance(value, list | dict) and name != "mirrors":
        raise ValueError(
            f"expected one value, got {'a list' if isinstance(value, list) else 'keys and values'}"
        )
    if _PER_NODE.match(name):
        merged.setdefault("per_node", {})[name] = str(value)
    else:
        merged[name] = value


def _outdo(merged: dict[str, Any], origin: Mapping[str, str], name: str, where: str) -> None:
    """A setting for all nodes, or for a role, replaces what the lower layer `where` sets for single nodes."""
    kind, _, role = name.partition("_")
    for key in list(merged.get("per_node", {})):
        own, number = _PER_NODE.match(key).groups()  # type: ignore[union-attr]
        if own == kind and origin[key] == f"{where}{key}" and role in ("", role_of(int(number))):
            del merged["per_node"][key]


def _problem(detail: Any, origin: Mapping[str, str]) -> str:
    name = str(detail["loc"][0])
    where = origin.get(name, name)
    problem = f"{where}: {complaint(detail)}, got '{shortened(str(detail['input']))}'"
    return problem + upstream_names.otherwise(where)


def _of_single_nodes(
    per_node: Mapping[str, str], origin: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The settings of single nodes that are right, numbers in MiB; and what is wrong with the others.

    A value for one node has the form and the bounds of the value for all nodes.
    """
    right, problems = {}, []
    for key, value in per_node.items():
        kind, number = _PER_NODE.match(key).groups()  # type: ignore[union-attr]
        try:
            field = "nets_vm" if kind == "nets" else kind
            right[key] = str(getattr(Settings.model_validate({field: value}), field))
            role_of(int(number))
        except ValidationError as error:
            problems += [_problem(detail, {field: origin[key]}) for detail in error.errors()]
        except ValueError as error:
            del right[key]
            problems.append(f"{origin[key]}: {error}")
    return right, problems


def _check(settings: Settings, origin: Mapping[str, str]) -> list[str]:
    problems = []
    try:
        ipaddress.IPv6Address(v6(settings.prefix, 0, 1))
    except ValueError:
        where = origin.get("prefix", "prefix")
        problems.append(
            f"{where}: '{v6(settings.prefix, 0, 1)}' is no IPv6 address; "
            "examples of a good prefix are fd00: and 1000::1"
        )
    if not settings.nvm + settings.nrouters + settings.ntesters:
        problems.append("the cluster would have 0 nodes: set at least one of nvm, nrouters, ntesters above 0")
    return problems
