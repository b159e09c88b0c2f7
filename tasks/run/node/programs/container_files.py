"""The file systems of a container: what it is made from, without anything of the host; then its root."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Any

from tasks.run.node.programs.kernel_calls import (
    BIND,
    NODEV,
    NOEXEC,
    NOSUID,
    PRIVATE,
    RDONLY,
    REC,
    bind,
    mount,
    move_root,
)

DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun", "fuse")
# As container runtimes hide them: they say much of the host, or change it.
MASKED = (
    "acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi",
    "sysrq-trigger", "interrupts",
)  # fmt: skip
LINKS = {"ptmx": "pts/ptmx"}  # in /dev; what else belongs there, the image brings
CONSOLE = "ttyS0"  # of `lines`, what the first process speaks to
PLAIN = ("var/lib/containers", "var/lib/containerd")  # where programs in the node put layers of their own
COPIED = "/layers/own/work/copied"  # is there when the node's own layer has all of its files
NO_OVERLAYFS = (
    errno.EPERM,
    errno.EINVAL,
    errno.ENODEV,
)  # forbidden; on another overlayfs; not in this kernel


def leave_host(spec: dict[str, Any], lines: dict[str, str]) -> None:
    """In a mount namespace of our own, make a root of nothing but /layers, /binds and /dev of the node."""
    mount("none", "/", flags=REC | PRIVATE)
    stage = spec["stage"]
    mount("none", stage, "tmpfs", NOSUID, "mode=0755")
    for number, lower in enumerate(spec["lower"]):
        bind(lower, f"{stage}/layers/{number}", RDONLY | NODEV)
    # No NODEV: what is mounted in the node would have to keep it, and nobody there can make devices.
    bind(spec["layer"], f"{stage}/layers/own")
    for number, (source, _) in enumerate(spec["binds"]):
        bind(source, f"{stage}/binds/{number}", RDONLY | NODEV)
    for name in DEVICES:
        if os.path.exists(f"/dev/{name}"):
            bind(f"/dev/{name}", f"{stage}/dev/{name}")
    for name, device in lines.items():
        bind(device, f"{stage}/dev/{name}")
    Path(stage, "cmdline").write_text(spec["cmdline"] + "\n")
    for kind in ("proc", "sys"):  # the kernel gives new ones only to who can see one
        Path(stage, kind).mkdir()
        mount(f"/{kind}", f"{stage}/{kind}", flags=BIND | REC)
    Path(stage, "new").mkdir()
    move_root(stage)


def mount_root(spec: dict[str, Any], lines: dict[str, str]) -> None:
    """The root of the node, with what its fstab has, and the host's root gone."""
    _mount_layers(spec)
    _mount_plain()
    mount("proc", "/new/proc", "proc", NOSUID | NODEV | NOEXEC)
    mount("sysfs", "/new/sys", "sysfs", NOSUID | NODEV | NOEXEC)
    half = _half(spec)
    mount("tmpfs", "/new/run", "tmpfs", NOSUID | NODEV, f"mode=0755{half}")
    mount("tmpfs", "/new/tmp", "tmpfs", NOSUID | NODEV, f"mode=1777{half}")
    _mount_devices(spec, lines)
    _mount_cgroups(spec["hierarchies"])
    _hide()
    bind("/cmdline", "/new/proc/cmdline", RDONLY)
    for number, (_, target) in enumerate(spec["binds"]):
        bind(f"/binds/{number}", f"/new{target}")
    move_root("/new")


def _mount_cgroups(hierarchies: list[str]) -> None:
    """The cgroups of the node: those of version 1 as a host has them, else version 2, to look at at least."""
    place = "/new/sys/fs/cgroup"
    if not any(hierarchies):
        with contextlib.suppress(OSError):  # not in this kernel, or not for us
            mount("cgroup2", place, "cgroup2", NOSUID | NODEV | NOEXEC)
        if hierarchies:  # a cgroup with processes cannot give its controllers to others
            Path(place, "init").mkdir()
            Path(place, "init", "cgroup.procs").write_text("0")
            for controller in Path(place, "cgroup.controllers").read_text().split():
                Path(place, "cgroup.subtree_control").write_text(f"+{controller}")
        return
    mount("tmpfs", place, "tmpfs", NOSUID | NODEV | NOEXEC, "mode=0755")
    for controllers in hierarchies:
        own = Path(place, controllers.removeprefix("name="))
        own.mkdir()
        option = f"none,{controllers}" if controllers.startswith("name=") else controllers
        mount("cgroup", str(own), "cgroup", NOSUID | NODEV | NOEXEC, option)


def _half(spec: dict[str, Any]) -> str:
    """The size of a tmpfs, as Linux has it: half of the memory, of the node and not of the host."""
    return f",size={spec['limits']['mem'] * 512}k" if spec["limits"] else ""


def _mount_layers(spec: dict[str, Any]) -> None:
    """The node's own files over those that it shares; a copy where the kernel gives no overlayfs for that."""
    lower = ":".join(f"/layers/{number}" for number in range(len(spec["lower"])))
    own = "upperdir=/layers/own/upper,workdir=/layers/own/work"
    try:
        if not os.path.exists(COPIED):
            mount("overlay", "/new", "overlay", 0, f"lowerdir={lower},{own},userxattr")
            return
    except OSError as error:
        if len(spec["lower"]) > 1 or error.errno not in NO_OVERLAYFS:
            raise
        _copy("/layers/0", "/layers/own/upper")
        os.mkdir(COPIED)
    bind("/layers/own/upper", "/new")


def _mount_plain() -> None:
    """Directories of the node that are no overlayfs, since over one there can be no other."""
    for name in PLAIN:
        own = f"/layers/own/plain/{os.path.basename(name)}"
        os.makedirs(f"/new/{name}", exist_ok=True)
        if not os.path.isdir(own):
            os.mkdir(own)
            _copy(f"/new/{name}", own)
        bind(own, f"/new/{name}")


def _copy(source: str, target: str) -> None:
    """Copy what is in a directory, with owners, modes and times."""
    with os.scandir(source) as entries:
        for entry in entries:
            path, info = f"{target}/{entry.name}", entry.stat(follow_symlinks=False)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), path)
            elif entry.is_dir():
                os.mkdir(path)
                _copy(entry.path, path)
            elif entry.is_file():
                _copy_file(entry.path, path)
            else:
                continue
            os.chown(path, info.st_uid, info.st_gid, follow_symlinks=False)
            if not entry.is_symlink():
                os.chmod(path, stat.S_IMODE(info.st_mode))
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def _copy_file(source: str, target: str) -> None:
    with open(source, "rb") as old, open(target, "xb") as new:
        while os.sendfile(new.fileno(), old.fileno(), None, 1 << 30):
            pass


def _mount_devices(spec: dict[str, Any], lines: dict[str, str]) -> None:
    mount("tmpfs", "/new/dev", "tmpfs", NOSUID, "mode=0755")
    for name in (*DEVICES, *lines):
        if os.path.exists(f"/dev/{name}"):
            bind(f"/dev/{name}", f"/new/dev/{name}")
    bind(f"/dev/{CONSOLE}", "/new/dev/console")
    for name in ("pts", "shm", "mqueue"):
        Path("/new/dev", name).mkdir()
    group = ",gid=5" if spec["groups"] else ""
    mount("devpts", "/new/dev/pts", "devpts", NOSUID | NOEXEC, f"newinstance,mode=0620,ptmxmode=0666{group}")
    mount("tmpfs", "/new/dev/shm", "tmpfs", NOSUID | NODEV, f"mode=1777{_half(spec)}")
    with contextlib.suppress(OSError):
        mount("mqueue", "/new/dev/mqueue", "mqueue", NOSUID | NODEV | NOEXEC)
    for name, target in LINKS.items():
        os.symlink(target, f"/new/dev/{name}")


def _hide() -> None:
    """Cover what says much of the host. Its settings are read-only to the node by their owner."""
    for name in MASKED:
        place = f"/new/proc/{name}"
        if os.path.isdir(place):
            mount("tmpfs", place, "tmpfs", RDONLY, "size=0")
        elif os.path.exists(place):
            bind("/dev/null", place)
