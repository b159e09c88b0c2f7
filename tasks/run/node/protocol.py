"""Node backends: what a node runs as. They know nets only as NICs."""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tasks.base.paths import NodeDir
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net.netem import Impairment
from tasks.run.net.protocol import Nic


@dataclass(frozen=True)
class Frozen:
    """A saved machine: to be made when `state` is None, else to start from."""

    ram: Path  # its memory, mapped privately by its clones
    state: Path | None
    booted: bool = False  # a node of a checkpoint; a golden snapshot asks who it is
    own: bool = False  # `ram` is changed in place: it becomes another snapshot
    events: tuple[str, ...] = ()  # the lines that the template sent while it booted


@dataclass(frozen=True)
class Boot:
    """What all nodes of a cluster are started from."""

    kernel: Path  # ELF with a PVH note, or bzImage
    initramfs: Path | None
    modules: Path | None  # read-only disk with /lib/modules
    cmdline: str  # of the kernel definition
    image: Path  # qcow2, shared
    iso: Path | None
    accel: str  # kvm or tcg
    machine: str
    extra: str  # words added to QEMU's command line
    frozen: Frozen | None = None  # None: an ordinary, cold boot
    mptable: bool = False  # the kernel reads the BIOS's table of interrupts (X86_MPPARSE)
    crowded: bool = False  # more virtual CPUs than the host has processors
    containers: Path | None = None  # read-only disk with container images
    lpj: int | None = None  # loops per jiffy of the host's processor, for emulated guests
    inside: tuple[str, ...] = ()  # what stands before a node's command line: where its nets are
    apart: tuple[str, ...] = ()  # the same for machines with loose NICs; empty: theirs are no taps
    root: str = "/dev/vda"  # the device of the root file system: a partition where the image has some
    khz: int | None = None  # of the host's time stamp counter, for emulated guests


@dataclass(frozen=True)
class Layers:
    """What all containers of a cluster are started from."""

    image: Path  # directory with the files of the image
    overlays: Path | None  # directory with what the overlays change in it
    events: tuple[str, ...] = ()  # the lines that were sent while they were unpacked
    containers: Path | None = None  # directory with container images
    inside: tuple[str, ...] = ()  # what stands before a node's command line: where its nets are
    cgroups: bool = False  # nodes have cgroups of their own


@dataclass(frozen=True)
class NodeRun:
    """A node that was started."""

    node: Node
    directory: NodeDir
    process: "subprocess.Popen[bytes]"
    frozen: Frozen | None = None  # the snapshot of a clone, which has asked for its identity already
    events: tuple[str, ...] = ()  # the lines of its boot that were sent before it was started


class NodeBackend(Protocol):
    """What a node backend has to do; the one of `kinds` does it for nodes of all kinds."""

    def preflight(self, settings: Settings, nodes: Sequence[Node], freed: int = 0) -> list[str]:
        """Everything that is missing on this host; nothing is changed.

        `freed` is the memory in MiB that a cluster gives back which will end before these nodes start.
        """

    def start(self, boot: Boot | Layers, node: Node, nics: Sequence[Nic], directory: NodeDir) -> NodeRun:
        """Start one node; its directory exists and is empty."""

    def stop(self, directory: NodeDir) -> None:
        """End the node of this directory if it runs, whoever started it."""

    def pid(self, directory: NodeDir) -> int | None:
        """The process of the node of this directory; None when it does not run."""


class Cable(Protocol):
    """What connects one NIC of a running node with its net, and what can be done to it while it runs.

    A capture has a name, so that there can be several. All raise UserError when the node does not do it.
    """

    def plug(self, *, up: bool) -> None:
        """Plug the cable in, or unplug it."""

    def dump(self, name: str, file: Path) -> None:
        """Write every frame, both ways, to `file` (pcap) from now on."""

    def end_dump(self, name: str) -> None:
        """End a capture; it is no error if there is none."""

    def dumps(self) -> Iterable[str]:
        """The captures that there are, also those of which nobody knows any more."""

    def surplus(self) -> int:
        """Bytes before each frame in the files of captures which are not of the frame."""

    def disturb(self, impairment: Impairment, ways: Sequence[str]) -> None:
        """Have the frames of these ways, `out` or `in`, come late or not at all, as long as the node runs.

        What was so before is replaced. If this fails the cable is a good one.
        """

    def relieve(self) -> None:
        """Make it a good cable again, also when the program that disturbs it was killed."""
