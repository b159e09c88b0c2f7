"""Every path below the workspace, in one place."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.base.node_names import node_name


@dataclass(frozen=True)
class Workspace:
    """Where all that is built or running lives; nothing of ours is written elsewhere."""

    root: Path

    @classmethod
    def find(cls, project: Path, environ: Mapping[str, str]) -> "Workspace":
        """`XCLUSTER_WORKSPACE`, else `workspace/` in the checkout."""
        return cls(Path(os.path.abspath(environ.get("XCLUSTER_WORKSPACE") or project / "workspace")))

    @property
    def db(self) -> Path:
        """doit's state."""
        return self.root / "doit.db"

    @property
    def cache(self) -> Path:
        """Downloads by sha256, and apt's lists and packages by suite."""
        return self.root / "cache"

    @property
    def seals(self) -> Path:
        """What built files held when they were made."""
        return self.root / "seals"

    @property
    def accel(self) -> Path:
        """The verdict of the accelerator probe for this boot of the host."""
        return self.root / "accel.json"

    @property
    def probe_guest(self) -> Path:
        """The initramfs of the guest that the accelerator probe boots."""
        return self.root / "probe.cpio"

    @property
    def keys(self) -> Path:
        """ssh keys: ours (id_ed25519) and the nodes' host keys."""
        return self.root / "keys"

    def log(self, task: str) -> Path:
        """The log of one build task."""
        return self.root / "log" / f"{task.replace(':', '_').replace('/', '_')}.log"

    def stamp(self, noun: str, name: str) -> Path:
        """The stamp of an artifact: what consumers depend on."""
        return self.root / noun / f"{name}.json"

    def content(self, sha256: str) -> Path:
        """A download, by the hash of its content."""
        return self.cache / "sha256" / sha256

    @property
    def oci(self) -> Path:
        """Container images: an OCI layout, each blob once."""
        return self.cache / "oci"

    def pulled(self, reference: str) -> Path:
        """What is known of a container image that was pulled or made."""
        return self.stamp("pull", reference.replace("/", "+"))

    def store(self, key: str) -> Path:
        """A disk of container images for guests, by what is on it."""
        return self.root / "store" / f"{key}.squashfs"

    def stored(self, cluster: str) -> Path:
        """Which disk of container images a cluster has; not there when it has none."""
        return self.stamp("store", cluster)

    @property
    def registry(self) -> Path:
        """The private registry: its configuration, its images, its log."""
        return self.root / "registry"

    @property
    def k8s(self) -> Path:
        """Secrets of clusters with Kubernetes, and what nodes get of them; one directory each."""
        return self.root / "k8s"

    def secret(self, cluster: str) -> Path:
        """What all certificates and keys of a cluster are derived from."""
        return self.k8s / cluster / "secret.json"

    def credentials(self, cluster: str) -> Path:
        """An overlay's tar with certificates, keys and kubeconfigs of a cluster; its stamp is beside it."""
        return self.k8s / cluster / "credentials.tar"

    def bin(self, name: str) -> Path:
        """A program from outside, for use on the host too."""
        return self.root / "bin" / name

    @property
    def go(self) -> Path:
        """Go's modules and what it has compiled, where the user has no module cache set."""
        return self.cache / "go"

    def apt(self, suite: str) -> Path:
        """apt's private state for one suite: lists, packages, status files."""
        return self.cache / "apt" / suite

    def kernel(self, name: str) -> Path:
        """A kernel's directory: vmlinux, bzImage, config, initramfs.cpio, modules.img."""
        return self.root / "kernel" / name

    def image(self, name: str) -> Path:
        """A disk image; all nodes share it as their backing file."""
        return self.root / "image" / f"{name}.qcow2"

    def rootfs(self, name: str) -> Path:
        """The files of images as directories, for containers; one directory for each content."""
        return self.root / "rootfs" / name

    def image_libs(self, name: str) -> Path:
        """The libraries in an image, and the version of its glibc, for programs that come from the host."""
        return self.root / "image" / f"{name}.libs"

    def ovl(self, key: str) -> Path:
        """An overlay's tar."""
        return self.root / "ovl" / f"{key}.tar"

    def iso(self, cluster: str) -> Path:
        """The overlay ISO of a cluster."""
        return self.root / "iso" / f"{cluster}.iso"

    def choice(self, cluster: str) -> Path:
        """What the last mkcdrom of a cluster was given."""
        return self.root / "iso" / f"{cluster}.json"

    @property
    def run(self) -> Path:
        """Running clusters, one directory each."""
        return self.root / "run"

    @property
    def checkpoints(self) -> Path:
        """Saved clusters, one directory each."""
        return self.root / "checkpoint"

    @property
    def wheels(self) -> Path:
        """The Python packages that a release brings along."""
        return self.root / "wheels"

    def release(self, version: str) -> Path:
        """The files of one release."""
        return self.root / "release" / version

    @property
    def shipped(self) -> Path:
        """In an unpacked release: its files, and the tasks that made them."""
        return self.root / "shipped.json"

    @property
    def adopted(self) -> Path:
        """Which of these tasks doit was told of, and where."""
        return self.root / "adopted.json"

    def leftovers(self) -> list[Path]:
        """Everything that no build task makes; keys stay as long as a cluster runs that they open."""
        kept = {self.run}
        if any(self.run.glob("*/cluster.json")):
            kept |= {self.keys, self.k8s, self.accel}
        if (self.registry / "registry.json").exists():  # it runs
            kept.add(self.registry)
        others = [path for path in self.root.iterdir() if path not in kept]
        return [path for path in others if not path.name.startswith(self.db.name)]  # sqlite has a journal

    def scripts(self, cluster: str) -> Path:
        """XCLUSTER_TMP: what scripts keep as long as the cluster runs."""
        return self.root / "tmp" / cluster

    def cluster(self, name: str) -> "ClusterDir":
        """The directory of one cluster."""
        return ClusterDir(self.run / name)


@dataclass(frozen=True)
class ClusterDir:
    """The files of one running cluster; `stop` removes the directory."""

    root: Path

    @property
    def workspace(self) -> Workspace:
        """The workspace that it runs in."""
        return Workspace(self.root.parents[1])

    @property
    def lock(self) -> Path:
        """Held by start, stop, scaleout and scalein; beside the directory, because `stop` removes that."""
        return self.root.with_name(f"{self.root.name}.lock")

    @property
    def state(self) -> Path:
        """What the cluster was started with."""
        return self.root / "cluster.json"

    @property
    def net(self) -> Path:
        """What the network backend needs: sockets, pid files."""
        return self.root / "net"

    @property
    def dns(self) -> Path:
        """What the DNS server of a cluster with bridges works on."""
        return self.root / "dns"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfigs that have a context of this cluster."""
        return self.root / "kubeconfig.json"

    @property
    def ready(self) -> Path:
        """How long Kubernetes took until it was ready."""
        return self.root / "ready.json"

    @property
    def fakenet(self) -> Path:
        """The process of the pretended internet."""
        return self.root / "fakenet.helper"

    @property
    def held(self) -> Path:
        """Names of its own for the files that nodes have below their disks: others may be replaced."""
        return self.root / "held"

    def node(self, number: int) -> "NodeDir":
        """The directory of one node."""
        return NodeDir(self.root / node_name(number))

    def scratch(self, number: int) -> "NodeDir":
        """The directory of a machine that never runs; it gives a saved node its last form."""
        return NodeDir(self.root / f"s-{number:03d}")


@dataclass(frozen=True)
class NodeDir:
    """The files of one node."""

    root: Path

    @property
    def disk(self) -> Path:
        """The node's own writes, over the shared image."""
        return self.root / "disk.qcow2"

    @property
    def state(self) -> Path:
        """pid, start time and how to reach the node."""
        return self.root / "node.json"

    @property
    def console_log(self) -> Path:
        """All that the serial console printed."""
        return self.root / "console.log"

    @property
    def qemu_log(self) -> Path:
        """What QEMU itself said, below the command it was started with."""
        return self.root / "qemu.log"

    @property
    def events(self) -> Path:
        """The phases of the boot as the guest reported them, with times."""
        return self.root / "events.log"

    @property
    def links(self) -> Path:
        """Which cables are pulled."""
        return self.root / "links.json"

    @property
    def console(self) -> Path:
        """Unix socket of the serial console."""
        return self.root / "console"

    @property
    def control(self) -> Path:
        """Unix socket of the control port (the guest's hvc0)."""
        return self.root / "control"

    @property
    def qmp(self) -> Path:
        """Unix socket of QEMU's monitor (QMP)."""
        return self.root / "qmp"
