"""A user's program sets up the NICs: `PROGRAM NODE NET`, and what it prints are QEMU's options.

It runs where we are, as QEMU does, so what it makes (a tap, a port of Open vSwitch) has to be possible there.
"""

import os
import re
import shlex
import socket
from collections.abc import Collection, Sequence
from pathlib import Path

from tasks.base import environment, files, proc, records
from tasks.base.errors import CommandError, UserError
from tasks.base.paths import ClusterDir
from tasks.definitions import addresses, upstream_names
from tasks.definitions.schema import Node
from tasks.run.net import host_support
from tasks.run.net.net_state import CustomLinks
from tasks.run.net.protocol import Nic, Ports, ScriptNic, without_bridges

# Bridges, and the datapath of Open vSwitch: they are not of the node for which they were made first.
SHARED = re.compile(r"xcbr[0-9]{1,2}|ovs-(netdev|system)")
NO_NODE = 0  # in the name of the record of such links
REMOVE = ("ip", "link", "del", "dev")


class Custom:
    """The backend `custom`, with the user's program."""

    def __init__(self, script: str) -> None:
        self._script = script

    def preflight(self, nodes: Sequence[Node], ports: Ports, held: Collection[int] = ()) -> list[str]:
        """Whether there is a program, and all nodes can have what it makes."""
        return without_bridges(nodes, "custom") + self._program()

    def _program(self) -> list[str]:
        if not self._script:
            return ["net=custom needs a program: --net-setup=PROGRAM, or __net_setup in the environment"]
        if not os.access(self._script, os.X_OK) or not Path(self._script).is_file():
            return [f"net_setup: '{self._script}' is no program: give its path, and make it executable"]
        return []

    def up(self, cluster: ClusterDir, nodes: Sequence[Node], prefix: str, ports: Ports) -> None:
        """Nothing: the program makes what it needs, NIC by NIC."""
        cluster.net.mkdir(parents=True, exist_ok=True)

    def unplug(self, cluster: ClusterDir, number: int, ports: Ports | None) -> None:
        """Remove the links that came with a node."""
        self._forget(cluster, f"{number}-*")

    def down(self, cluster: ClusterDir) -> None:
        """Remove the links that the program made."""
        self._forget(cluster, "*-*")
        files.remove(cluster.net)

    def nics(self, cluster: ClusterDir, node: Node, prefix: str, ports: Ports) -> list[Nic]:
        """What the program says for each net of the node."""
        return [self._nic(cluster, node, net, prefix, ports) for net in node.nets]

    def inside(self, cluster: ClusterDir | None) -> list[str]:
        """Nothing: nodes run in the namespace that we are in."""
        return []

    def ssh(self, cluster: ClusterDir, number: int, ports: Ports) -> tuple[str, int]:
        """The node itself where there are bridges; else the program has to forward a port."""
        return (addresses.v4(0, number), 22) if host_support.here() else ("127.0.0.1", ports.ssh + number)

    def processes(self, cluster: ClusterDir) -> dict[str, int | None]:
        """None: this backend starts no process."""
        return {}

    def _nic(self, cluster: ClusterDir, node: Node, net: int, prefix: str, ports: Ports) -> ScriptNic:
        words = [str(Path(self._script).resolve()), str(node.number), str(net)]
        variables = {
            "__mtu": str(node.mtu),
            "__mac": node.mac(net),
            "xcluster_PREFIX": prefix,
            "XCLUSTER_SSH_BASE": str(ports.ssh),
            "XCLUSTER_TELNET_BASE": str(ports.telnet or ""),
        }
        before = _links()
        try:
            promised = {key: value for key, value in variables.items() if value}
            users = upstream_names.as_upstream(environment.of_scripts())
            text = proc.output(words, env={**users, **promised}, clean_env=True)
        except CommandError as error:
            raise UserError(f"net_setup, {node.name} on net {net}: {error}") from error
        finally:
            new = _links() - before
            shared = {name for name in new if SHARED.fullmatch(name)}
            for whose, links in ((node.number, new - shared), (NO_NODE, shared)):
                if links or whose:
                    record = CustomLinks(links=tuple(sorted(links)))
                    records.write(cluster.net / f"{whose}-{net}.json", record)
        return ScriptNic(net, node.mac(net), _options(proc.quoted(words), text.decode(errors="replace")))

    def _forget(self, cluster: ClusterDir, which: str) -> None:
        for state in cluster.net.glob(f"{which}.json"):
            record = records.intact(state, CustomLinks)
            for name in record.links if record else ():
                if name in _links():
                    proc.output([*REMOVE, name])
            state.unlink()


def _links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def _options(command: str, text: str) -> tuple[str, ...]:
    """QEMU's options as the program printed them. UserError when they are none."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(
            f"net_setup: the output of '{command}' cannot be split into words: {error}: {text!r}"
        ) from error
    if not words or not words[0].startswith("-"):
        what = f"printed no options for QEMU but {text.strip()!r}" if words else "printed nothing"
        raise UserError(
            f"net_setup: '{command}' {what}",
            "it has to print options as '-netdev tap,... -device virtio-net-pci,...' on stdout",
        )
    return words
