"""Nodes as containers: namespaces of this host's kernel, with the files of the same image.

programs/container.py keeps one; what it is told is made here. A container has no kernel of its own: the words
of a kernel's command line that scripts of the image ask for are pretended.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.base import cgroups, files, helper, proc, records, signals, subids
from tasks.base.paths import NodeDir
from tasks.base.records import Mark
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net import host_support
from tasks.run.net.protocol import Nic, VethNic
from tasks.run.node import image_directory
from tasks.run.node.node_state import NodeRecord
from tasks.run.node.protocol import Layers, NodeRun

PROGRAM = Path(__file__).parent / "programs" / "container.py"
SPEC = "container.json"
OF_MACHINES = ("kernel", "machine", "kvm_opt", "accel")  # settings that containers have no use for
PROCESSES = 8  # for each MiB: 128 KiB for one, as Linux reckons
COUNTED = (5, 14)  # from this version on Linux counts processes in each user namespace
LIMITS = {"mem": "--mem", "smp": "--smp", "processes": "the number of processes"}
ANSWER = 30  # seconds that a node waits for its identity
IPVS = Path("/proc/net/ip_vs")
MOST_USERS = Path("/proc/sys/user/max_user_namespaces")


def cmdline(node: Node) -> str:
    """What a node reads as the command line of a kernel."""
    mtus = [f"mtu{net}={node.mtu}" for net in node.nets] if node.mtu != 1500 else []
    return " ".join(word for word in (f"xc_wait={ANSWER}", *mtus, node.append) if word)


def notes(settings: Settings, nodes: Sequence[Node]) -> list[str]:
    """What containers among these nodes do not heed of the settings."""
    own = [node for node in nodes if node.kind == "container"]
    words = [f"append={node.append} of {node.name}" for node in own if node.append][:1]
    if own and len(own) == len(nodes):
        values = {name: getattr(settings, name) for name in OF_MACHINES}
        words += [
            f"{name}={value}"
            for name, value in values.items()
            if value != Settings.model_fields[name].default
        ]
    note = "a container has the host's kernel, and no machine, so this has no effect: "
    return [note + ", ".join(words)] if words else []


def limits(node: Node) -> dict[str, int]:
    """What a node may have at most: MiB, processors, and as many processes as a machine with that memory."""
    return {"mem": node.mem, "smp": node.smp, "processes": node.mem * PROCESSES}


def unlimited(nodes: Sequence[Node]) -> list[str]:
    """One line with the limits of containers that do not hold on this host."""
    if not any(node.kind == "container" for node in nodes):
        return []
    held = cgroups.held()
    if host_support.release() >= COUNTED:
        held = {*held, "processes"}
    names = [text for name, text in LIMITS.items() if name not in held]
    why = "containers are not limited here, as we may make no cgroup for that: what does not hold is "
    return [why + ", ".join(names)] if names else []


def spec(name: str, lower: Sequence[Path], own: Path, init: str) -> dict[str, object]:
    """What container.py has to know of every container.

    `own` is the directory of its own layer, `init` what /init of the image is told that it is.
    """
    return {
        "name": name,
        "first id": subids.first(),
        "lower": [str(path) for path in lower],
        "layer": str(own / "layer"),
        "stage": str(own / "stage"),
        "thrown away": init == "node",
        "binds": [],
        "nics": [],
        "cgroups": False,
        "limits": {},
        "most processes": None,
        "cmdline": "",
        "init": ["/init"],
        "env": {"container": init, "HOME": "/", "TERM": "linux"},
    }


def make_folders(own: Path) -> None:
    """The directories that container.py works on."""
    (own / "stage").mkdir()
    for name in ("upper", "work", "plain"):
        (own / "layer" / name).mkdir(parents=True)
        if subids.first() == subids.BASE:
            os.chown(own / "layer" / name, subids.BASE, subids.BASE)


def command(own: Path, inside: Sequence[str]) -> list[str]:
    """The command line that keeps the container whose directory this is."""
    return [*inside, sys.executable, "-I", "-S", str(PROGRAM), str(own / SPEC)]


class ContainerNode:
    """The backend of nodes that are containers."""

    def preflight(self, settings: Settings, nodes: Sequence[Node], freed: int = 0) -> list[str]:
        """What this host lacks; whether it has namespaces for bridges, the nets say."""
        missing = (
            [] if proc.find("ssh") else [f"'ssh' is missing: {proc.INSTALL} {proc.DEBIAN_PACKAGE['ssh']}"]
        )
        if not MOST_USERS.exists() or MOST_USERS.read_text().strip() == "0":
            missing.append(
                "containers need user namespaces, which this kernel does not give: "
                "sysctl user.max_user_namespaces=10000"
            )
        if host_support.here() and not host_support.capable(host_support.SYS_ADMIN):
            missing.append(
                "containers in a namespace with bridges of yours need CAP_SYS_ADMIN: leave it first"
            )
        if subids.first() == subids.BASE and host_support.uplink() == "pasta":
            missing.append(
                f"containers of root need slirp4netns: pasta gives up root's ids: {proc.INSTALL} slirp4netns"
            )
        return missing + _of_kernel(settings)

    @signals.whole
    def start(self, layers: Layers, node: Node, nics: Sequence[Nic], directory: NodeDir) -> NodeRun:
        """Start the program that makes the container and keeps it."""
        directory.root.mkdir(parents=True)
        make_folders(directory.root)
        lower = [path for path in (layers.overlays, layers.image) if path]
        cables = [
            [nic.name, nic.bridge, nic.mac, node.mtu, nic.wire] for nic in nics if isinstance(nic, VethNic)
        ]
        binds = [[str(layers.containers), image_directory.PLACE]] if layers.containers else []
        most = node.mem * PROCESSES if host_support.release() >= COUNTED else None
        more = {
            "nics": cables,
            "binds": binds,
            "cmdline": cmdline(node),
            "cgroups": layers.cgroups,
            "limits": limits(node),
            "most processes": most,
        }
        files.write_json(directory.root / SPEC, {**spec(node.name, lower, directory.root, "node"), **more})
        words = command(directory.root, layers.inside)
        directory.qemu_log.write_text(f"$ {proc.quoted(words)}\n")
        process = proc.spawn(words, directory.qemu_log, env=helper.environment(directory.root.parent))
        record = NodeRecord.at(
            Mark.of(process.pid),
            number=node.number,
            node=node,
            image=layers.image,
            containers=layers.containers,
        )
        records.write(directory.state, record)
        return NodeRun(node, directory, process, events=layers.events)

    def stop(self, directory: NodeDir) -> None:
        """End it, and throw its files away: those of subordinate ids too, if it was killed."""
        records.end(directory.state)
        cgroups.forget(directory.root / cgroups.RECORD)  # if it was killed
        layer = directory.root / "layer"
        try:
            files.remove(layer)
        except PermissionError:
            proc.output(["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", str(layer)])

    def pid(self, directory: NodeDir) -> int | None:
        """The program that keeps it."""
        return records.process(directory.state)


def _of_kernel(settings: Settings) -> list[str]:
    """What these settings ask of the host's kernel, and containers cannot get for themselves."""
    missing = []
    if settings.cgroups and (obstacles := cgroups.obstacles(cgroups.here())):
        missing.append(
            f"cgroups=yes: containers can have none of their own: {'; '.join(obstacles)}: "
            "start as root, or take virtual machines"
        )
    if settings.kubernetes and settings.k8s_proxy_mode == "ipvs" and not IPVS.exists():
        missing.append(
            "k8s_proxy_mode=ipvs needs ip_vs in this kernel, which containers cannot load: "
            "`modprobe ip_vs`, or take --k8s-proxy-mode=nftables"
        )
    return missing


BACKEND = ContainerNode()
