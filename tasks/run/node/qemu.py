"""Nodes as QEMU virtual machines. The command line is made by small pure functions; `start` runs it."""

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.base import files, helper, limits, proc, records, signals, unix_sockets
from tasks.base.errors import UserError
from tasks.base.paths import NodeDir
from tasks.base.records import Mark
from tasks.definitions.schema import Node
from tasks.definitions.settings import Settings
from tasks.run.net.protocol import Nic
from tasks.run.node import nic_options, qemu_options
from tasks.run.node.nic_options import escaped
from tasks.run.node.node_state import NodeRecord
from tasks.run.node.protocol import Boot, NodeRun

QEMU = qemu_options.QEMU
OWN = 60  # MiB that QEMU takes for itself, most of it for translated code (docs/performance.md)
ANSWER = 30  # seconds that a guest waits for its identity


def argv(
    boot: Boot, node: Node, nics: Sequence[Nic], directory: NodeDir, *, wait: int = ANSWER,
    sockets: Path | None = None,
) -> list[str]:  # fmt: skip
    """The whole command line of one node. The guest waits `wait` seconds for its identity.

    `sockets` is what QEMU knows the node's directory by when it opens its sockets.
    """

    def socket(path: Path) -> Path:
        return sockets / os.path.relpath(path, directory.root) if sockets else path

    return [
        QEMU,
        *_machine(boot, node),
        *_memory(boot, node),
        *_boot(boot, node, wait),
        *_disks(boot, directory),
        *_ports(directory, socket),
        *_random(),
        *(word for i, nic in enumerate(nics) for word in nic_options.of(i, nic, node.mtu, socket)),
        *shlex.split(boot.extra),
    ]


def sandboxed(words: Sequence[str]) -> list[str]:
    """A whole command line, with the filter of system calls that QEMU puts on itself.

    It is no part of `argv`, because it does not change the machine: saved states know their command line. A
    program that makes NICs is started by QEMU, perhaps with other rights. Who gives `-sandbox` in `kvm_opt`
    has chosen another one.
    """
    if "-sandbox" in words:
        return list(words)
    starts_programs = any("script=" in word.replace("script=no", "") for word in words)
    denied = ["obsolete", "resourcecontrol"]
    denied += [] if starts_programs else ["elevateprivileges", "spawn"]
    return [*words, "-sandbox", ",".join(["on", *(f"{group}=deny" for group in denied)])]


def _machine(boot: Boot, node: Node) -> list[str]:
    return [
        "-name", f"{node.name},process={node.name}",
        "-nodefaults", "-no-user-config",
        "-machine", f"{boot.machine},hpet=off,usb=off,vmport=off,memory-backend=ram",
        "-accel", _accel(boot),
        "-cpu", cpu(boot.accel),
        "-m", str(node.mem),
        "-smp", str(node.smp),
        "-display", "none",
        "-rtc", "base=utc",
    ]  # fmt: skip


def cpu(accel: str) -> str:
    """The processor of a node.

    Kernels and C libraries fill memory with `rep stosb` where a CPU says that it is fast (`erms`). Emulated,
    it is one round for each byte: several times slower than a loop.
    """
    return "host" if accel == "kvm" else "max,-erms"


def _accel(boot: Boot) -> str:
    """With more virtual CPUs than processors, those of an emulated node take turns in one thread.

    Otherwise one would wait actively for another one that gets no processor.
    """
    if boot.accel == "kvm":
        return "kvm"
    return f"tcg,thread={'single' if boot.crowded else 'multi'}"


def _memory(boot: Boot, node: Node) -> list[str]:
    """Memory in a file: the template's own, or copied on write by a clone. A saved state has its name."""
    if boot.frozen is None:
        return ["-object", f"memory-backend-ram,id=ram,size={node.mem}M"]
    share = "on" if boot.frozen.state is None or boot.frozen.own else "off"
    ram = f"memory-backend-file,id=ram,size={node.mem}M,mem-path={escaped(boot.frozen.ram)},share={share}"
    return ["-object", ram, *(["-incoming", "defer"] if boot.frozen.state else [])]


def cmdline(boot: Boot, node: Node, wait: int = ANSWER) -> str:
    """The kernel's command line."""
    mtus = [f"mtu{net}={node.mtu}" for net in node.nets] if node.mtu != 1500 else []
    # Without auto_da_alloc a file that is replaced is not written to the disk at once.
    words = [
        f"root={boot.root}",
        "rw",
        "rootflags=noauto_da_alloc",
        "init=/init",
        "console=ttyS0",
        f"xc_wait={wait}",
    ]
    words += [f"xc_root={boot.root}"] if boot.root != "/dev/vda" else []  # for the initramfs
    words += _emulated(boot) if boot.accel == "tcg" else []
    return " ".join(word for word in (*words, boot.cmdline, *mtus, node.append) if word)


def _emulated(boot: Boot) -> list[str]:
    """What saves an emulated guest time; together a quarter of its boot.

    Nothing speculates under emulation. TCG translates a program again when its address changes. The clock is
    the host's, so it need not be compared with others, nor the speed of a loop be measured by waiting.
    """
    loops = [f"lpj={boot.lpj}"] if boot.lpj else []
    # Measured while the host is busy, the frequency of the clock may be wrong by a factor, in all clones too.
    clock = [f"tsc_early_khz={boot.khz}"] if boot.khz else []
    # Asking ACPI for the interrupt of a device takes 0.1 s each; the older table of the BIOS says the same.
    routing = ["acpi=noirq"] if boot.mptable else []
    return ["mitigations=off", "norandmaps", "tsc=reliable", "no_timer_check", *clock, *routing, *loops]


def _boot(boot: Boot, node: Node, wait: int) -> list[str]:
    initrd = ["-initrd", str(boot.initramfs)] if boot.initramfs else []
    return ["-kernel", str(boot.kernel), *initrd, "-append", cmdline(boot, node, wait)]


def _disks(boot: Boot, directory: NodeDir) -> list[str]:
    """vda is the root disk, vdb the ISO, then modules and container images; a guest knows the serials too."""
    words = _disk("root", directory.disk, "qcow2,discard=unmap", readonly=False)
    if boot.iso:
        words += _disk(
            "cdrom", boot.iso, boot.iso.suffix.removeprefix(".").replace("iso", "raw"), readonly=True
        )
    if boot.modules:
        words += _disk("modules", boot.modules, "raw", readonly=True)
    if boot.containers:
        words += _disk("images", boot.containers, "raw", readonly=True)
    return words


def _disk(name: str, path: Path, kind: str, *, readonly: bool) -> list[str]:
    # What a guest wrote need not survive a crash of the host.
    mode = "read-only=on" if readonly else "cache=unsafe"
    return [
        "-drive", f"file={escaped(path)},id={name},if=none,format={kind},{mode}",
        "-device", f"virtio-blk-pci,drive={name},serial={name}",
    ]  # fmt: skip


def _ports(directory: NodeDir, socket: Callable[[Path], Path]) -> list[str]:
    def chardev(path: Path, more: str = "") -> str:
        return f"socket,id={path.name},path={escaped(socket(path))},server=on,wait=off{more}"

    log = escaped(directory.console_log)
    return [
        "-chardev", chardev(directory.console, f",logfile={log},logappend=on"),
        "-serial", "chardev:console",
        "-device", "virtio-serial-pci",
        "-chardev", chardev(directory.control),
        "-device", "virtconsole,chardev=control",
        "-chardev", chardev(directory.qmp),
        "-mon", "chardev=qmp,mode=control",
    ]  # fmt: skip


def _random() -> list[str]:
    """Not called rng0, as those in __kvm_opt of xcluster's settings are."""
    return [
        "-object", "rng-random,id=xcrng,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=xcrng,max-bytes=1024,period=80000",
    ]  # fmt: skip


class Qemu:
    """The backend `qemu`."""

    def preflight(self, settings: Settings, nodes: Sequence[Node], freed: int = 0) -> list[str]:
        """Missing programs, options that QEMU does not take, and memory that the host does not have."""
        missing = [
            f"the program '{program}' is missing: apt-get install {proc.DEBIAN_PACKAGE[program]}"
            for program in (QEMU, "qemu-img", "ssh")
            if not proc.find(program)
        ]
        missing += qemu_options.wrong(settings)
        return missing + _crowding(nodes, freed)

    @signals.whole
    def start(self, boot: Boot, node: Node, nics: Sequence[Nic], directory: NodeDir) -> NodeRun:
        """Make the node's own disk over the shared image, and start QEMU."""
        directory.root.mkdir(parents=True)
        make_disk(boot.image, directory.disk, directory.root.parent)
        words = sandboxed(argv(boot, node, nics, directory, sockets=unix_sockets.HERE))
        command = unix_sockets.beside(directory.root, [*boot.inside, *words])
        directory.qemu_log.write_text(f"$ {proc.quoted(command)}\n")
        process = proc.spawn(command, directory.qemu_log, env=helper.environment(directory.root.parent))
        record = NodeRecord.at(
            Mark.of(process.pid), number=node.number, node=node, image=boot.image, iso=boot.iso,
            ram=boot.frozen.ram if boot.frozen else None, containers=boot.containers,
        )  # fmt: skip
        records.write(directory.state, record)
        return NodeRun(node, directory, process, boot.frozen)

    def stop(self, directory: NodeDir) -> None:
        """End QEMU; the node's disk is thrown away, so there is nothing to wait for."""
        records.end(directory.state)

    def pid(self, directory: NodeDir) -> int | None:
        """QEMU's process."""
        return records.process(directory.state)


def _crowding(nodes: Sequence[Node], freed: int) -> list[str]:
    """Whether nodes take more memory than there is. Guests rarely touch all that they have."""
    needed, memory = sum(OWN + node.mem // 2 for node in nodes), limits.memory()
    free = memory.free + freed
    if needed <= free:
        return []
    configured = sum(node.mem for node in nodes)
    take = f"{len(nodes)} nodes with {configured} MiB in all take about {needed} MiB"
    return [f"{take}, but {memory.of} has {free} MiB free: use --mem, or fewer nodes"]


def make_disk(image: Path, disk: Path, folder: Path) -> None:
    """A qcow2 that keeps only what differs from `image`; one is made in `folder`, the others are copies."""
    if not image.is_file():
        raise UserError(f"the disk image {image} does not exist", "build it: xc image:NAME")
    template = folder / f"{files.digest(image)[:8]}.template"
    if not template.is_file():
        with files.atomic(template) as temp:
            proc.output(
                ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(temp)]
            )
    shutil.copyfile(template, disk)


def program() -> tuple[int, int]:
    """Size and time of QEMU itself: what changes when it does."""
    info = Path(proc.need(QEMU)).stat()
    return info.st_size, info.st_mtime_ns


BACKEND = Qemu()
