"""The namespaces, the file systems and the first process of a container, as container.py's child makes them.

The process that is forked for it is the parent of the node's first process, outside of its pid namespace:

    where it came from          a mount namespace with the node's layers and devices, and nothing of the host
    a user namespace            container.py gives it its ids ("user")
    mount, pid, net, ...        all owned by that user namespace; container.py plugs the cables in ("net")
    the first process           the root over an overlayfs, then the program of the image ("run")

Root in a node has no right over anything but these namespaces, whoever started the cluster.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
from pathlib import Path
from typing import Any, NoReturn

from tasks.run.node.programs import syscall_filter

NEW = {
    "mount": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
    "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PR_SET_PDEATHSIG = 1
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun", "fuse")
# As container runtimes hide them: they say much of the host, or change it.
MASKED = (
    "acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi",
    "sysrq-trigger", "interrupts",
)  # fmt: skip
LINKS = {"ptmx": "pts/ptmx"}  # in /dev; what else belongs there, the image brings
CONSOLE = "ttyS0"  # of `lines`, what the first process speaks to
LONGEST = 400  # characters of a failure
libc = ctypes.CDLL(None, use_errno=True)


def check(code: int, what: str) -> None:
    """Raise OSError for a call that failed."""
    if code < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(*kinds: str) -> None:
    """Go to new namespaces of these kinds. Raises OSError."""
    check(libc.unshare(sum(NEW[kind] for kind in kinds)), f"new namespaces ({', '.join(kinds)})")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError."""
    words = [os.fsencode(source), os.fsencode(target), kind.encode() if kind else None]
    code = libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None)
    check(code, f"mount {kind or ''} {target}".replace("  ", " "))


def bind(source: str, target: str, flags: int = 0) -> None:
    """Make `source` visible at `target` too, a directory or a file, which is made."""
    place = Path(target)
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    elif not os.path.lexists(target):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount(source, target, flags=BIND)
    if flags:
        mount("none", target, flags=BIND | REMOUNT | flags | _locked(target))


def _locked(path: str) -> int:
    """The flags that a mount has, and a user namespace may not take away."""
    have = os.statvfs(path).f_flag
    pairs = {os.ST_RDONLY: RDONLY, os.ST_NOSUID: NOSUID, os.ST_NODEV: NODEV, os.ST_NOEXEC: NOEXEC}
    return sum(flag for bit, flag in pairs.items() if have & bit)


def move_root(place: str) -> None:
    """Make `place` the root; what was the root before is out of reach."""
    os.chdir(place)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", DETACH), "umount of the old root")
    os.chdir("/")


def end_with_parent() -> None:
    """Be killed when the process that made us ends."""
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")


def run(spec: dict[str, Any], lines: dict[str, str], outer: socket.socket) -> NoReturn:
    """Be the parent of the node's first process until it ends, and tell its exit code.

    `lines` says for some devices of the node which one of the host it is; `outer` leads to container.py.
    """
    parent = os.getppid()
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _leave_host(spec, lines)
        unshare("user")
        _ask(outer, b"user")
        _become_root(spec)
        unshare("mount", "pid", "net", "uts", "ipc", "cgroup")
        _ask(outer, b"net")
        end_with_parent()  # not before: a change of ids takes it back
        if os.getppid() == parent:
            outer.send(str(_first(spec, lines, outer)).encode())
    except OSError as error:
        outer.send((error.strerror or str(error)).encode()[:LONGEST])
    finally:
        os._exit(1)


def _ask(outer: socket.socket, word: bytes) -> None:
    """Wait until container.py has done its part."""
    outer.send(word)
    if not outer.recv(16):
        os._exit(1)


def _first(spec: dict[str, Any], lines: dict[str, str], outer: socket.socket) -> int:
    """Start the first process, and wait for its end: its exit code, negative for a signal."""
    ours, alive = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(alive)
        _begin(spec, lines, outer, ours)
    outer.send(f"run {pid}".encode())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _leave_host(spec: dict[str, Any], lines: dict[str, str]) -> None:
    """Make a root that has nothing but what the node is made of, below /layers, /binds and /dev."""
    unshare("mount")
    mount("none", "/", flags=REC | PRIVATE)
    stage = spec["stage"]
    mount("none", stage, "tmpfs", NOSUID, "mode=0755")
    for number, lower in enumerate(spec["lower"]):
        bind(lower, f"{stage}/layers/{number}", RDONLY | NODEV)
    bind(spec["layer"], f"{stage}/layers/own", NODEV)
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


def _become_root(spec: dict[str, Any]) -> None:
    if spec["groups"]:
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _begin(spec: dict[str, Any], lines: dict[str, str], outer: socket.socket, alive: int) -> NoReturn:
    """Become the first process."""
    try:
        end_with_parent()
        if select.select([alive], [], [], 0)[0]:  # the parent has ended before that
            os._exit(1)
        os.setsid()
        os.umask(0o022)
        socket.sethostname(spec["name"])
        _mount_root(spec, lines)
        if not spec["groups"]:
            syscall_filter.pretend_ids(libc)
        console = os.open("/dev/console", os.O_RDWR | os.O_NOCTTY)
        for number in range(3):
            os.dup2(console, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.execve(spec["init"][0], spec["init"], spec["env"])
    except OSError as error:
        outer.send((error.strerror or str(error)).encode()[:LONGEST])
    finally:
        os._exit(1)


def _mount_root(spec: dict[str, Any], lines: dict[str, str]) -> None:
    """The root of the node, with what its fstab has, and the host's root gone."""
    lower = ":".join(f"/layers/{number}" for number in range(len(spec["lower"])))
    own = "upperdir=/layers/own/upper,workdir=/layers/own/work"
    mount("overlay", "/new", "overlay", 0, f"lowerdir={lower},{own},userxattr")
    mount("proc", "/new/proc", "proc", NOSUID | NODEV | NOEXEC)
    mount("sysfs", "/new/sys", "sysfs", NOSUID | NODEV | NOEXEC)
    mount("tmpfs", "/new/run", "tmpfs", NOSUID | NODEV, "mode=0755")
    mount("tmpfs", "/new/tmp", "tmpfs", NOSUID | NODEV, "mode=1777")
    _mount_devices(spec, lines)
    with contextlib.suppress(OSError):  # not in this kernel, or not for us
        mount("cgroup2", "/new/sys/fs/cgroup", "cgroup2", NOSUID | NODEV | NOEXEC)
    _hide()
    bind("/cmdline", "/new/proc/cmdline", RDONLY)
    for number, (_, target) in enumerate(spec["binds"]):
        bind(f"/binds/{number}", f"/new{target}")
    move_root("/new")


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
    mount("tmpfs", "/new/dev/shm", "tmpfs", NOSUID | NODEV, "mode=1777")
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
