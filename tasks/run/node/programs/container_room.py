"""The namespaces, the file systems and the first process of a container, as container.py's child makes them.

The process that is forked for it is the parent of the node's first process, outside of its pid namespace:

    where it came from          a mount namespace with the node's layers and devices, and nothing of the host
    a user namespace            container.py gives it its ids ("user")
    mount, pid, net, ...        all owned by that user namespace; container.py plugs the cables in ("net")
    the first process           the root over an overlayfs, then the program of the image ("run")

Root in a node has no right over anything but these namespaces, whoever started the cluster.
"""

import os
import resource
import select
import signal
import socket
from typing import Any, NoReturn

from tasks.run.node.programs import container_files, syscall_filter
from tasks.run.node.programs.kernel_calls import end_with_parent, libc, unshare

LONGEST = 400  # characters of a failure


def run(spec: dict[str, Any], lines: dict[str, str], outer: socket.socket) -> NoReturn:
    """Be the parent of the node's first process until it ends, and tell its exit code.

    `lines` says for some devices of the node which one of the host it is; `outer` leads to container.py.
    """
    parent = os.getppid()
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        unshare("mount")
        container_files.leave_host(spec, lines)
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
        if spec["most processes"]:  # here, where the kernel counts those of this user namespace alone
            hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
            most = min(spec["most processes"], hard if hard >= 0 else spec["most processes"])
            resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        socket.sethostname(spec["name"])
        container_files.mount_root(spec, lines)
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
