"""Settings. First to last count: the command line, the environment (`__name`), xcluster.yaml, the defaults.

What a topology sets counts less than the environment. It counts more than an xcluster.yaml that does not name
the topology.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from tasks.base.errors import unknown
from tasks.definitions.addresses import v6
from tasks.definitions.artifact_sources import Name
from tasks.definitions.complaints import complaint
from tasks.definitions.roles import FIRST, Role, role_of
from tasks.definitions.schema import Node

Nets = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,2}(,[0-9]{1,2})*$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]+:[0-9a-fA-F:]*$")]
Mirrors = Annotated[str, StringConstraints(pattern=r"^(\s*[^\s=]+=(https?://)?[^\s=/:][^\s=]*)*\s*$")]
ClusterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]

Url = Annotated[str, StringConstraints(pattern=r"^(https?|file)://[^ ]*/$")]
UrlList = Annotated[
    tuple[Url, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]

# Settings that can be given for one node: --mem201=384, __smp3=1, __nets10=0,3, __append2=debug.
PER_NODE = ("mem", "smp", "nets", "append")
_PER_NODE = re.compile(rf"^({'|'.join(PER_NODE)})([1-9][0-9]{{0,2}})$")
PLAIN_TOPOLOGY = "xnet"


def topology_name(name: Any) -> Any:
    """The name of a topology; upstream also calls the default topology `default`."""
    return PLAIN_TOPOLOGY if name == "default" else name


@dataclass(frozen=True)
class SettingsLayer:
    """Settings of a topology or an image; those of one node count less than one for all above it."""

    where: str
    values: Mapping[str, Any]
    above_file: bool  # counts more than xcluster.yaml


class Settings(BaseModel):
    """Every setting with its default. Names are upstream's where upstream has the setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nvm: int = Field(4, ge=0, le=200, description="cluster nodes, vm-001 and up")
    nrouters: int = Field(2, ge=0, le=20, description="routers, vm-201 and up")
    ntesters: int = Field(0, ge=0, le=20, description="testers, vm-221 and up")
    mem: int = Field(128, ge=32, le=65536, description="memory of a node in MiB")
    smp: int = Field(2, ge=1, le=8, description="CPUs of a node")
    topology: Annotated[Name, BeforeValidator(topology_name)] = Field(
        PLAIN_TOPOLOGY, description="nets, routers and routes; it sets nets, counts and memory (see xc graph)"
    )
    nets_vm: Nets = Field("0,1", description="nets of a cluster node: eth0 on the first, and so on")
    nets_router: Nets = Field("0,1,2", description="nets of a router")
    nets_tester: Nets = Field("0,2", description="nets of a tester")
    mtu: int = Field(1500, ge=576, le=65535, description="MTU of every net in bytes")
    kernel: Name = Field("debian", description="kernel/<name>.yaml")
    image: Name = Field("base", description="images/<name>/")
    k8sver: str = Field(
        "", description="version of Kubernetes; default: first in ovl/kubernetes/versions.yaml"
    )
    ovls: str = Field("env network-topology", description="overlays of a cluster before the first mkcdrom")
    append: str = Field("", description="added to the kernel command line")
    machine: str = Field("pc", description="QEMU's machine type")
    kvm_opt: str = Field("", description="added to QEMU's command line")
    accel: Literal["auto", "kvm", "tcg"] = Field(
        "auto", description="auto boots a tiny guest to see if KVM works"
    )
    net: Literal["auto", "userspace", "bridge", "custom"] = Field(
        "auto", description="network backend; auto takes bridge where it works, else userspace"
    )
    net_setup: str = Field("", description="program that sets up each NIC: called with NODE NET")
    dns: Literal["auto", "on", "off"] = Field(
        "auto", description="DNS server on the host, port 10053; auto: none if it cannot be started"
    )
    dns_hosts: str = Field("", description="file of more names for the DNS server, as in /etc/hosts")
    name: ClusterName = Field("xcluster", description="name of the cluster; several run side by side")
    timeout: int = Field(
        120, ge=1, le=86400, description="seconds to wait for the nodes, and then for Kubernetes"
    )
    kubernetes: bool = Field(False, description="nodes run Kubernetes; an image may set this itself")
    k8s_family: Literal["dual", "ipv4", "ipv6"] = Field(
        "dual", description="address families of Kubernetes; SETUP=ipv4 or SETUP=ipv6 sets it too"
    )
    k8s_proxy_mode: Literal["iptables", "ipvs", "nftables"] = Field(
        "iptables", description="mode of kube-proxy; the variable K8S_PROXY_MODE sets it too"
    )
    wait: Literal["nodes", "ready"] = Field(
        "nodes", description="wait until the nodes answer, or until Kubernetes is ready too"
    )
    api_base: int = Field(7443, ge=1024, le=65000, description="first port to try for the Kubernetes API")
    cold: bool = Field(False, description="boot every node; do not clone the golden snapshot")
    keep: bool = Field(False, description="keep a cluster that did not come up, to look at it")
    xterm: bool = Field(
        True, description="open consoles in xterm windows where there is a display (start only)"
    )
    telnet: bool = Field(False, description="telnet without password, forwarded at 127.0.0.1:12000+N")
    blank_password: bool = Field(False, description="root logs in by ssh with an empty password")
    ssh_base: int = Field(12300, ge=1024, le=65000, description="ssh to node N is at 127.0.0.1 port base+N")
    telnet_base: int = Field(12000, ge=1024, le=65000, description="telnet to node N, as ssh_base")
    prefix: Prefix = Field("fd00:", description="IPv6 prefix: addresses are <prefix>:192.168.<net>.<N>")
    suite: Name = Field("bookworm", description="Debian suite of packages where a definition names none")
    mirror: str = Field("", description="URL of a Debian archive; default: the one apt is set up with")
    registry_mirrors: Mirrors = Field(
        "", description="container registries to ask first: PREFIX=[http://]HOST[/PATH] ..."
    )
    registry_insecure: str = Field(
        "", description="hosts of container registries without a trusted certificate"
    )
    mirrors: dict[Url, UrlList] = Field(
        default_factory=dict, description="mirrors of URLs, by prefix; only in xcluster.yaml"
    )
    download_timeout: int = Field(
        60,
        ge=1,
        le=86400,
        description="seconds in which a download has to bring 1 KiB/s; else it is given up",
    )
    offline: bool = Field(False, description="never use the network: what is not in the cache is an error")
    per_node: dict[str, str] = Field(default_factory=dict, description="mem201: 384 and the like")

    def nodes(self) -> tuple[Node, ...]:
        """All nodes that these settings ask for."""
        counts: dict[Role, int] = {"vm": self.nvm, "router": self.nrouters, "tester": self.ntesters}
        return tuple(self.node(FIRST[role] + i) for role, count in counts.items() for i in range(count))

    def plain_node(self, number: int) -> Node:
        """Node `number` as it is without settings of its own, but for its nets."""
        kept = {key: value for key, value in self.per_node.items() if key.startswith("nets")}
        return self.model_copy(update={"per_node": kept}).node(number)

    def node(self, number: int) -> Node:
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
    """The effective settings and a list of problems. If a value is wrong, the settings are the defaults.

    `words` are the options of the command line, `environ` is the process environment, `file` the content of
    xcluster.yaml. `others` are the settings of topology and image; the one that counts least comes first.
    A variable that is no setting is left to overlays; an unknown option or key of the file is a problem.
    """
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    problems = []
    for where, layer in _layers(words, environ, file, others):
        for key, value in layer.items():
            name = str(key).replace("-", "_")
            if not is_setting(name) or (name == "mirrors" and where != "xcluster.yaml: "):
                problems.append(where + unknown("setting", name, names()))
                continue
            for each in others:
                if where != each.where:
                    _outdo(merged, origin, name, each.where)
            origin[name] = where + (name.replace("_", "-") if where == "--" else name)
            _put(merged, name, " ".join(map(str, value)) if isinstance(value, list) else value)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        problems += [_problem(detail, origin) for detail in error.errors()]
        return Settings(), problems
    wrong = _check(settings, origin)  # nobody may read a wrong number of one node before that is told
    return (settings.model_copy(update={"per_node": {}}) if wrong else settings), problems + wrong


def _layers(
    words: Mapping[str, str],
    environ: Mapping[str, str],
    file: Mapping[str, Any],
    others: Sequence[SettingsLayer],
) -> list[tuple[str, dict[str, Any]]]:
    """What is set at each place, with the place as it is named in problems; the last one counts most."""
    return [
        *((each.where, dict(each.values)) for each in others if not each.above_file),
        ("xcluster.yaml: ", dict(file)),
        *((each.where, dict(each.values)) for each in others if each.above_file),
        ("__", {k[2:]: v for k, v in environ.items() if v and k.startswith("__") and is_setting(k[2:])}),
        ("--", dict(words)),
    ]


def _put(merged: dict[str, Any], name: str, value: Any) -> None:
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
    return f"{origin.get(name, name)}: {complaint(detail)}, got '{detail['input']}'"


def _check(settings: Settings, origin: Mapping[str, str]) -> list[str]:
    problems = []
    for key, value in settings.per_node.items():
        kind, number = _PER_NODE.match(key).groups()  # type: ignore[union-attr]
        if kind in ("mem", "smp"):
            problems += _check_number(kind, value, origin[key])
        elif kind == "nets" and not re.fullmatch(r"[0-9]{1,2}(,[0-9]{1,2})*", value):
            problems.append(f"{origin[key]}: expected a list of nets such as 0,1,2, got '{value}'")
        try:
            role_of(int(number))
        except ValueError as error:
            problems.append(f"{origin[key]}: {error}")
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


def _check_number(kind: str, value: str, where: str) -> list[str]:
    """A number for one node has the same bounds as the number for all nodes."""
    try:
        Settings.model_validate({kind: value})
    except ValidationError as error:
        return [_problem(detail, {kind: where}) for detail in error.errors()]
    if not value.strip().isdecimal():  # 64.0 is a number to pydantic
        return [f"{where}: expected a whole number, got '{value}'"]
    return []
