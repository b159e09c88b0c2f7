"""One node as a container: keeps its namespaces, its two serial lines and its cables until it ends.

    python container.py SPEC.json

It works in the directory of SPEC.json, in the network namespace of the cluster, and in its user namespace if
it has one. The node's first process is its grandchild: between them is `container_room.py`'s process, which
makes the namespaces. Whoever of the three ends, however, the others end too, and with the first process all
that is in the node. A node that reboots is made again over the same files. The serial lines are the sockets
`control` (the node's /dev/hvc0) and `console` (its /dev/ttyS0), as QEMU has them; `console.log` has all that
the console printed. Runs by itself, on the standard library and the modules beside it.
"""

import contextlib
import errno
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import termios
import tty
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[4]))  # -I leaves it out

from tasks.base import cgroups  # noqa: E402
from tasks.run.node.programs import container_room, veth  # noqa: E402

BLOCK = 1 << 16
KEPT = 1 << 18  # bytes for who connects later
COUNT = 1 << 16  # ids of a node that has more than one
MOST = 8  # clients of a line at once
REBOOT = -signal.SIGHUP  # how reboot(2) ends the first process of a pid namespace; for poweroff it is SIGINT


class SerialLine:
    """A serial line: a pty, the node's end of which is a device there, and a socket for clients.

    `log` gets all that the node writes; with `terminal` its lines end as on a terminal.

    What comes before the first client is kept for it; later, what nobody reads is dropped.
    """

    def __init__(
        self, name: str, selector: selectors.BaseSelector, log: Path | None, *, terminal: bool = False
    ) -> None:
        self.master, self.slave = os.openpty()
        if not terminal:
            tty.setraw(self.slave, termios.TCSANOW)
        os.set_blocking(self.master, False)
        self.waiting = b""  # for the node
        self.log = log.open("ab", buffering=0) if log else None
        self.clients: list[socket.socket] = []
        self.early: bytes | None = b""
        self.selector = selector
        self.listener = socket.socket(socket.AF_UNIX)
        Path(name).unlink(missing_ok=True)
        self.listener.bind(f".{name}")
        os.chmod(f".{name}", 0o600)
        self.listener.listen(MOST)
        self.listener.setblocking(False)
        os.rename(f".{name}", name)  # who finds it can connect
        selector.register(self.listener, selectors.EVENT_READ, self.accept)
        selector.register(self.master, selectors.EVENT_READ, self.hear)

    @property
    def device(self) -> str:
        """The node's end, as the host names it."""
        return os.ttyname(self.slave)

    def accept(self, _: Any) -> None:
        """Somebody connects; one client too many is turned away."""
        client, _address = self.listener.accept()
        if len(self.clients) >= MOST:
            client.close()
            return
        client.setblocking(False)
        self.clients.append(client)
        self.selector.register(client, selectors.EVENT_READ, self.take)
        early, self.early = self.early, None
        self.give(client, early or b"")

    def hear(self, _: Any) -> None:
        """The node writes, or takes again what waits for it."""
        self.write()
        try:
            data = os.read(self.master, BLOCK)
        except BlockingIOError:
            return
        if self.log:
            with contextlib.suppress(OSError):  # a full disk must not end a node
                self.log.write(data)
        if self.early is not None:
            self.early = (self.early + data)[-KEPT:]
        for client in list(self.clients):
            self.give(client, data)

    def give(self, client: socket.socket, data: bytes) -> None:
        """Write to a client what it takes now."""
        try:
            client.send(data)
        except BlockingIOError:
            return
        except OSError:
            self.leave(client)

    def take(self, client: socket.socket) -> None:
        """A client writes, or leaves."""
        try:
            data = client.recv(BLOCK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.leave(client)
            return
        self.say(data)

    def say(self, data: bytes) -> None:
        """Write to the node; what it does not take yet waits, but not more than KEPT."""
        self.waiting = (self.waiting + data)[:KEPT]
        self.write()

    def write(self) -> None:
        """Write what waits, and be called again when the node takes more."""
        with contextlib.suppress(BlockingIOError):
            while self.waiting:
                self.waiting = self.waiting[os.write(self.master, self.waiting) :]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.waiting else 0)
        self.selector.modify(self.master, events, self.hear)

    def leave(self, client: socket.socket) -> None:
        """Forget a client."""
        self.selector.unregister(client)
        self.clients.remove(client)
        client.close()


class Container:
    """The node: the process that made its namespaces, and what is done for that from outside."""

    def __init__(
        self, spec: dict[str, Any], lines: dict[str, SerialLine], hierarchies: list[cgroups.Hierarchy]
    ) -> None:
        self.spec = spec
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        devices = {name: line.device for name, line in lines.items()}
        name = f"{spec['name']}-{cgroups.mark(Path.cwd().parent)}"
        self.cgroups = cgroups.Cgroups(hierarchies, name, Path(cgroups.RECORD))
        self.first = 0  # the first process of the node, while it runs
        self.pid = os.fork()
        if not self.pid:
            self.ours.close()
            container_room.run(spec, devices, theirs)
        theirs.close()

    def settle(self) -> None:
        """Do what has to be done from outside: the ids of the namespace, and the cables. Raises OSError."""
        self.expect("user")
        self.join_cgroups()
        process = Path(f"/proc/{self.pid}")
        if not self.spec["groups"]:
            (process / "setgroups").write_text("deny")
        text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in self.spec["ids"])
        (process / "uid_map").write_text(text)
        (process / "gid_map").write_text(text)
        self.ours.send(b"go")
        self.expect("net")
        with open(process / "ns" / "net") as namespace:
            veth.plug(self.spec["nics"], namespace.fileno(), pulled())
        self.ours.send(b"go")
        self.first = int(self.expect("run"))
        try:
            self.cgroups.release(self.pid)  # it only waits for the node, and is none of its processes
        except OSError:
            if self.spec["cgroups"]:
                raise

    def join_cgroups(self) -> None:
        """Have all that the node is in cgroups with its limits. Raises OSError if it needs some itself."""
        try:
            self.cgroups.make(self.spec["ids"][0][1] if self.spec["cgroups"] else None)
            if self.spec["limits"]:
                self.cgroups.limit(self.spec["limits"])
            self.cgroups.take(self.pid)
        except OSError as error:
            if self.spec["cgroups"]:
                raise
            print(f"the node has no limits: {error}", file=sys.stderr, flush=True)

    def expect(self, word: str) -> str:
        """Wait until the other process has come there; what else it says. Raises OSError for other words."""
        answer = self.ours.recv(BLOCK).decode()
        first, _, rest = answer.partition(" ")
        if first != word:
            raise OSError(errno.ECANCELED, answer or f"it ended before '{word}'")
        return rest

    def end(self) -> None:
        """Kill the node, and wait until nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.first or self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.ours.close()
        self.cgroups.remove()


def serve(selector: selectors.BaseSelector, node: Container) -> int:
    """Carry bytes until the node ends: its exit code, negative for a signal. OSError if it never began."""
    selector.register(node.ours, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not node.ours:
                key.data(key.fileobj)
                continue
            selector.unregister(node.ours)
            answer = node.ours.recv(BLOCK).decode()
            if answer.lstrip("-").isdigit():
                node.first = 0
                return int(answer)
            raise OSError(errno.ECANCELED, answer or "the process that keeps its namespaces was killed")


def pulled(record: Path = Path("links.json")) -> set[str]:
    """The NICs whose cables were unplugged, as who did it has recorded."""
    try:
        cables = json.loads(record.read_text())["cables"]
        return {name for name, state in cables.items() if state == "down"}
    except (OSError, ValueError, KeyError, AttributeError):
        return set()


def _end(*_: object) -> None:
    raise SystemExit(0)


def ids(first: int, own: Path = Path("/proc/self/uid_map")) -> tuple[list[list[int]], bool]:
    """The ids of the node: [its, ours, how many]; and whether it has those of groups and other users.

    `first` is the id of the host's that is root there. In a user namespace that we are in, the node has the
    same ids as we.
    """
    rows = [[int(word) for word in line.split()] for line in own.read_text().splitlines()]
    if any(start <= first and first + COUNT <= start + count for start, _, count in rows):
        return [[0, first, COUNT]], True
    return [[start, start, count] for start, _, count in rows], sum(count for *_, count in rows) >= COUNT


def main(spec: dict[str, Any]) -> int:
    """Run the node until it is switched off."""
    spec["ids"], spec["groups"] = ids(spec["first id"])
    hierarchies = cgroups.here() if spec["cgroups"] else cgroups.limiting() if spec["limits"] else []
    spec["hierarchies"] = [each.controllers for each in hierarchies] if spec["cgroups"] else []
    held = [os.open(path, os.O_RDONLY) for path in (*spec["lower"], *(path for path, _ in spec["binds"]))]
    for layer in held:  # who removes old layers sees that this one is in use
        fcntl.flock(layer, fcntl.LOCK_SH)
    selector = selectors.DefaultSelector()
    lines = {
        "hvc0": SerialLine("control", selector, Path("control.log") if spec.get("say") else None),
        "ttyS0": SerialLine("console", selector, Path("console.log"), terminal=True),
    }
    for line in lines.values():
        os.fchown(line.slave, spec["ids"][0][1], -1)
    lines["hvc0"].say(spec.get("say", "").encode())
    signal.signal(signal.SIGTERM, _end)
    node = None
    try:
        while True:
            node = Container(spec, lines, hierarchies)
            node.settle()
            code = serve(selector, node)
            node.end()
            node = None
            for line in lines.values():
                line.hear(None)
            if code != REBOOT:
                return 0
    except OSError as error:
        print(f"the container of {spec['name']} cannot be made: {error.strerror}", file=sys.stderr)
        return 1
    finally:
        if node:
            node.end()
        if spec["thrown away"] and spec["groups"]:  # others than root have files that only we may remove
            shutil.rmtree(spec["layer"], ignore_errors=True)


if __name__ == "__main__":
    os.chdir(Path(sys.argv[1]).parent)  # a socket cannot have a long path
    raise SystemExit(main(json.loads(Path(sys.argv[1]).read_text())))
