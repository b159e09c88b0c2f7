"""Networking without root or preparation: net 0 is QEMU's user network, the others are VDE switches.

A VDE switch is a process that learns addresses as a real switch does; its ports are unix sockets below the
cluster's directory. So nothing is sent to any network of the host, and a node does not hear its own frames,
as it does with multicast.
"""

import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tasks.lib import files, proc
from tasks.lib.errors import UserError
from tasks.lib.model import Node
from tasks.lib.paths import ClusterDir
from tasks.net import Forward, Nic, Ports, SwitchNic, UserNic

LONGEST_SOCKET = 107  # bytes of a unix socket's path
SPARE_PORTS = 32  # for nodes that are added later


class Userspace:
    """The backend `userspace`."""

    def preflight(self, nodes: Sequence[Node], ports: Ports) -> list[str]:
        """Missing programs, and ports of the host that somebody else has."""
        missing = []
        if any(net for node in nodes for net in node.nets) and not proc.find("vde_switch"):
            missing.append("the program 'vde_switch' is missing: apt-get install vde2")
        for node in nodes if any(0 in node.nets for node in nodes) else ():
            for forward in ports.of(node.number):
                if not _is_free(forward.host_port):
                    missing.append(_port_taken(node.name, forward))
        return missing

    def up(self, cluster: ClusterDir, nets: Iterable[int], ports: int) -> None:
        """Start one switch for each net but net 0."""
        for net in sorted(set(nets) - {0}):
            folder = cluster.net / str(net)
            if self._pid(folder):
                continue
            _check_length(folder)
            folder.parent.mkdir(parents=True, exist_ok=True)
            pidfile = folder.with_suffix(".pid")
            proc.run([
                "vde_switch", "-sock", str(folder), "-numports", str(ports + SPARE_PORTS), "-mode", "600",
                "-rcfile", "/dev/null", "-daemon", "-pidfile", str(pidfile),
            ])  # fmt: skip
            pid = _wait_for(pidfile)
            files.write_json(folder.with_suffix(".json"), {"pid": pid, "start": proc.started_at(pid)})

    def down(self, cluster: ClusterDir) -> None:
        """End the switches."""
        for state in cluster.net.glob("*.json"):
            saved = files.read_json(state)
            proc.kill(int(saved["pid"]), int(saved["start"] or -1))
        files.remove(cluster.net)

    def nics(self, cluster: ClusterDir, node: Node, prefix: str, ports: Ports) -> list[Nic]:
        """A user NIC on net 0, switch NICs on the others."""
        return [self._nic(cluster, node, net, prefix, ports) for net in node.nets]

    def pids(self, cluster: ClusterDir) -> list[int]:
        """The switches."""
        return [pid for state in cluster.net.glob("*.json") if (pid := self._pid(state.with_suffix("")))]

    def _nic(self, cluster: ClusterDir, node: Node, net: int, prefix: str, ports: Ports) -> Nic:
        if net:
            return SwitchNic(net, node.mac(net), str(cluster.net / str(net)))
        return UserNic(
            0, node.mac(0), guest=f"192.168.0.{node.number}", host="192.168.0.250",
            host6=f"{prefix}:192.168.0.250", prefix6=f"{prefix}:", forwards=ports.of(node.number),
        )  # fmt: skip

    def _pid(self, folder: Path) -> int | None:
        saved = files.read_json(folder.with_suffix(".json"))
        alive = saved and proc.started_at(int(saved["pid"])) == saved["start"]
        return int(saved["pid"]) if alive else None


def _wait_for(pidfile: Path) -> int:
    """The pid a daemon writes once it is up."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        text = pidfile.read_text().strip() if pidfile.is_file() else ""
        if text.isdigit():
            return int(text)
        time.sleep(0.002)
    raise UserError(f"vde_switch did not start: no {pidfile}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _port_taken(name: str, forward: Forward) -> str:
    return (
        f"port 127.0.0.1:{forward.host_port} (for port {forward.guest_port} of {name}) is in use by another "
        "program: end it, or choose others with --ssh-base and --telnet-base"
    )


def _check_length(folder: Path) -> None:
    longest = f"{folder}/ctl"
    if len(longest.encode()) > LONGEST_SOCKET:
        raise UserError(
            f"the path {longest} is too long for a unix socket ({LONGEST_SOCKET} bytes)",
            "set XCLUSTER_WORKSPACE to a directory with a shorter path",
        )


BACKEND = Userspace()
