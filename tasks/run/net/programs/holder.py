"""Keeps a network namespace, connects it with the outside, and forwards ports of the host to what is in it.

    python holder.py DIRECTORY user|root UPLINK...

Two processes: the outer one is where it was started, listens on ports of the loopback there, and takes orders
on the socket DIRECTORY/holder; the inner one is in the new namespace and connects. UPLINK is a command line
with {pid} for the inner one's. When one of the two ends, however, the other ends everything in the namespace.
`user` makes a user namespace first, where the caller is root, with their subordinate ids if there are some.
Orders are a JSON object and a line feed:

    {"open": [[PORT, HOST, ITS-PORT], ...]}  {"close": [PORT, ...]}

and the answer is {"inner": PID, "uplink": PID} or {"error": TEXT}. Runs by itself, on the standard library.
"""

import contextlib
import ctypes
import errno
import json
import os
import pwd
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

NEW_USER, NEW_NET, PR_SET_PDEATHSIG = 0x10000000, 0x40000000, 1
PATIENCE = 5.0  # seconds for a node to take a connection
BLOCK = 1 << 16
COUNT = 1 << 16  # ids of a user namespace besides the user's own
ETC = Path("/etc")
LARGEST = 1 << 12  # bytes of an order to the inner process
libc = ctypes.CDLL(None, use_errno=True)


def unshare(kind: str, outer: socket.socket) -> None:
    """Go to a new network namespace. Raises OSError.

    The outer process gives a user namespace more ids than one, if its user has subordinate ones.
    """
    own_user, own_group = os.geteuid(), os.getegid()
    if libc.unshare(NEW_NET | (NEW_USER if kind == "user" else 0)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")
    if kind == "user":
        outer.send(b"user:")
    if kind == "user" and outer.recv(LARGEST) != b"mapped":
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {own_user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {own_group} 1")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    with contextlib.suppress(OSError):  # no IPv6 in this kernel
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        for kind in ("all", "default"):  # the host may have switched it off for itself
            Path(f"/proc/sys/net/ipv6/conf/{kind}/disable_ipv6").write_text("0")


def subordinate(file: Path, names: set[str]) -> tuple[int, int] | None:
    """The first range of ids, at least COUNT of them, that a file (subuid(5)) gives one of these names."""
    lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    for name, *numbers in (line.split(":") for line in lines):
        if (
            name in names
            and len(numbers) == 2
            and all(map(str.isdigit, numbers))
            and int(numbers[1]) >= COUNT
        ):
            return int(numbers[0]), COUNT
    return None


def map_ids(pid: int) -> bool:
    """Have newuidmap and newgidmap give a user namespace our id as 0, and our subordinate ids from 1 on.

    Returns whether there are some. Raises OSError where one of the two programs does it, and the other not.
    """
    names = {str(os.geteuid())}
    with contextlib.suppress(KeyError):  # an id without a name
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    ranges = [subordinate(ETC / name, names) for name in ("subuid", "subgid")]
    programs = [shutil.which(name) for name in ("newuidmap", "newgidmap")]
    if os.geteuid() == 0 or not all(ranges) or not all(programs):
        return False
    for number, (program, own) in enumerate(zip(programs, (os.geteuid(), os.getegid()), strict=True)):
        start, count = ranges[number] or (0, 0)
        words = [str(program), str(pid), "0", str(own), "1", "1", str(start), str(count)]
        done = subprocess.run(words, check=False, capture_output=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            if number == 0:
                return False
            raise OSError(errno.EPERM, done.stderr.decode(errors="replace").strip() or f"{program} failed")
    return True


def end_all(namespace: str) -> None:
    """Kill every process in a network namespace but this one, again until there is none."""
    alive = True
    while alive:
        alive = False
        for process in Path("/proc").glob("[0-9]*"):
            if int(process.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if os.readlink(process / "ns/net") == namespace:
                    os.kill(int(process.name), signal.SIGKILL)
                    alive = True
        time.sleep(0.002 if alive else 0)


def relay(near: socket.socket, target: tuple[str, int]) -> None:
    """Connect to the target and carry bytes both ways until both sides have ended."""
    with near:
        try:
            far = socket.create_connection(target, timeout=PATIENCE)
        except OSError:
            return
        far.settimeout(None)
        with far:
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=carry, args=[far, near], daemon=True)
            back.start()
            carry(near, far)
            back.join()


def carry(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes in one direction, and pass on their end."""
    with contextlib.suppress(OSError):
        while data := source.recv(BLOCK):
            sink.sendall(data)
    for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            end.shutdown(how)


class Inner:
    """The process in the namespace: accepts on sockets that the outer one made, and connects here."""

    def __init__(self, outer: socket.socket) -> None:
        self.outer = outer
        self.selector = selectors.DefaultSelector()
        self.selector.register(outer, selectors.EVENT_READ)
        self.ports: dict[int, socket.socket] = {}

    def run(self) -> None:
        """Serve until the outer process has ended."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is not self.outer:
                    self.accept(key.fileobj, key.data)
                elif not self.order():
                    return

    def accept(self, listener: Any, target: tuple[str, int]) -> None:
        """Somebody connects to a port of the host."""
        with contextlib.suppress(OSError):
            near, _ = listener.accept()
            near.setblocking(True)
            threading.Thread(target=relay, args=[near, target], daemon=True).start()

    def order(self) -> bool:
        """Carry out one order. Returns whether there was one."""
        data, fds, _, _ = socket.recv_fds(self.outer, LARGEST, 1)
        if not data:
            return False
        port, *target = json.loads(data)
        if fds:
            listener = socket.socket(fileno=fds[0])
            listener.setblocking(False)
            self.ports[port] = listener
            self.selector.register(listener, selectors.EVENT_READ, tuple(target))
        elif port in self.ports:
            self.selector.unregister(self.ports[port])
            self.ports.pop(port).close()
        return True


class Outer:
    """The process outside."""

    def __init__(self, directory: Path, kind: str, uplink: list[str]) -> None:
        self.inner, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pids = {"inner": os.fork()}
        if not self.pids["inner"]:
            self.inner.close()
            inside(theirs, kind)
        theirs.close()
        answer = self.inner.recv(LARGEST).decode()
        if answer == "user:":
            self.inner.send(b"mapped" if map_ids(self.pids["inner"]) else b"single")
            answer = self.inner.recv(LARGEST).decode()
        if not answer.startswith("net:"):
            raise OSError(answer or "the inner process has ended")
        self.namespace = answer
        words = [word.replace("{pid}", str(self.pids["inner"])) for word in uplink]
        self.uplink = subprocess.Popen(words, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent)
        self.pids["uplink"] = self.uplink.pid
        self.listener = socket.socket(socket.AF_UNIX)
        hidden = directory / ".holder"
        self.listener.bind(str(hidden))
        hidden.chmod(0o600)
        self.listener.listen()
        hidden.rename(directory / "holder")  # who finds it can connect

    def run(self) -> None:
        """Take orders until the inner process is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self.inner, selectors.EVENT_READ)
            while True:
                self.uplink.poll()
                if any(key.fileobj is self.inner for key, _ in selector.select()):
                    return
                with contextlib.suppress(OSError, ValueError):
                    self.serve(self.listener.accept()[0])

    def serve(self, link: socket.socket) -> None:
        """One order and its answer."""
        with link, link.makefile("rw") as lines:
            link.settimeout(PATIENCE)
            order = json.loads(lines.readline())
            answer: dict[str, Any] = dict(self.pids)
            try:
                for port, host, target in order.get("open", ()):
                    self.open(port, host, target)
            except OSError as error:
                answer = {"error": f"port 127.0.0.1:{port}: {error.strerror}"}
            for port in order.get("close", ()):
                self.inner.send(json.dumps([port]).encode())
            json.dump(answer, lines)

    def open(self, port: int, host: str, target: int) -> None:
        """Listen on a port of the loopback, for the inner process."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(64)
            socket.send_fds(self.inner, [json.dumps([port, host, target]).encode()], [listener.fileno()])


def end_with_parent() -> None:
    """Be killed when the process that made us ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def inside(outer: socket.socket, kind: str) -> None:
    """Run the inner process."""
    try:
        before = os.readlink("/proc/self/ns/net")
        unshare(kind, outer)
        namespace = os.readlink("/proc/self/ns/net")
        assert namespace != before
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # who wants to end it ends the outer one
        outer.send(namespace.encode())
        Inner(outer).run()
        end_all(namespace)
    except BaseException as error:
        with contextlib.suppress(OSError):
            outer.send(f"error: {error}".encode())
        raise
    finally:
        os._exit(0)


def main(directory: Path, kind: str, uplink: list[str]) -> None:
    """Run the outer process until the inner one has ended."""
    os.chdir(directory)  # a socket cannot have a long path
    outer = Outer(Path(), kind, uplink)
    outer.run()
    end_all(outer.namespace)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
