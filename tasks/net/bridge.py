"""Linux bridges and taps: as fast as it gets, and the host is a neighbour on every net.

    xcbrN           the bridge of net N; the host's side of it has 192.168.N.250 and <prefix>:192.168.N.250
    xcbrN_tM        the tap of node M on net N

They are in a network namespace that the cluster owns (holder.py keeps it), so nothing of them is seen on the
host and no root is needed; or in the namespace that we are in, when it has bridges of ours (place.py).
"""

import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.lib import files, proc
from tasks.lib.errors import CommandError, UserError
from tasks.lib.model import Node
from tasks.lib.paths import ClusterDir
from tasks.net import Nic, Ports, TapNic, forwards, place
from tasks.net.userspace import check_length

HOLDER = Path(__file__).with_name("holder.py")
LINKS = Path(__file__).with_name("links.py")
PATIENCE = 10.0  # seconds for the holder to be there, and to go
LARGEST_MTU = 65521  # of a tap
LOG = "holder.log"
HOST = 250  # the host's number on every net
OUTSIDE = {  # how each of the programs connects a namespace with the outside
    "slirp4netns": ["--configure", "--mtu=65520", "{pid}", place.UP],
    "pasta": [
        "--foreground", "--quiet", "--ipv4-only", "--config-net", "--ns-ifname", place.UP, "--address", "10.0.2.100",
        "--netmask", "24", "--gateway", "10.0.2.2", "--mtu", "65520", "-t", "none", "-u", "none",
        "-T", "none", "-U", "none", "--userns", "/proc/{pid}/ns/user", "--netns", "/proc/{pid}/ns/net",
    ],
}  # fmt: skip

# For nft: what guests send out has the address of the uplink.
RULES = f"""table ip xcluster {{
  chain out {{
    type nat hook postrouting priority srcnat
    oifname {place.UP} ip saddr 192.168.0.0/24 masquerade
  }}
}}
"""


class Bridge:
    """The backend `bridge`."""

    def preflight(self, nodes: Sequence[Node], ports: Ports) -> list[str]:
        """What keeps bridges from being made, and ports of the host that somebody else has."""
        missing = list(place.obstacles())
        missing += [
            f"--mtu={node.mtu} is more than a tap can have ({LARGEST_MTU})"
            for node in nodes[:1]
            if node.mtu > LARGEST_MTU
        ]
        return missing + ([] if place.here() else forwards.taken(nodes, ports))

    def up(self, cluster: ClusterDir, nodes: Sequence[Node], prefix: str, ports: Ports) -> None:
        """Make the namespace, if there is none yet, then bridges, taps and forwards."""
        check_length(cluster)
        known = self._place(cluster)
        if not known:
            known = _settle_here(cluster) if place.here() else _settle(cluster)
        plan = _plan(nodes, prefix)
        taps = {*_tap_names(cluster), *(name for name, _, _ in plan["taps"])}
        files.write_json(cluster.net / "taps.json", {"taps": sorted(taps)})
        self._links(cluster, plan)
        if known["own"]:
            self._uplink(cluster, known)
            _order(cluster, {"open": _forwards(nodes, ports)})

    def unplug(self, cluster: ClusterDir, number: int) -> None:
        """Remove the taps of a node and its forwards."""
        known = self._place(cluster)
        if not known or (known["own"] and not proc.recorded(known["inner"])):
            return
        own = [name for name in _tap_names(cluster) if name.endswith(f"_t{number}")]
        self._links(cluster, {"gone": own})
        if known["own"]:
            last = files.read_json(cluster.state).get("ports", {})
            _order(cluster, {"close": [f.host_port for f in Ports(**last).of(number)] if last else []})

    def down(self, cluster: ClusterDir) -> None:
        """End the holder, and with it all that is in its namespace; or remove our links."""
        known = files.read_json(cluster.net / "place.json")
        if known and known["own"]:
            _end(known)
        elif known and known["ns"] == _namespace():
            self._links(cluster, {"gone": _tap_names(cluster)})
        files.remove(cluster.net)

    def nics(self, cluster: ClusterDir, node: Node, prefix: str, ports: Ports) -> list[Nic]:
        """A tap on every net."""
        return [TapNic(net, node.mac(net), tap_name(net, node.number)) for net in node.nets]

    def inside(self, cluster: ClusterDir | None) -> list[str]:
        """nsenter, or unshare for machines that are connected to nothing."""
        if cluster is None:
            return place.fence()
        known = self._place(cluster)
        if not known:
            raise UserError("the cluster has no network namespace", "xc start")
        if not known["own"]:
            _check_same(known)
            return []
        user = ["--user", "--preserve-credentials"] if known["user"] else []
        return [proc.need("nsenter"), "--target", str(known["inner"]["pid"]), *user, "--net"]

    def ssh(self, cluster: ClusterDir, number: int, ports: Ports) -> tuple[str, int]:
        """A port of the host; in a shared namespace the node itself."""
        known = files.read_json(cluster.net / "place.json")
        if known and not known["own"]:
            return f"192.168.0.{number}", 22
        return "127.0.0.1", ports.ssh + number

    def processes(self, cluster: ClusterDir) -> dict[str, int | None]:
        """What keeps a namespace of the cluster's own, and what connects it with the outside."""
        known = files.read_json(cluster.net / "place.json")
        if not known or not known["own"]:
            return {}
        return {name: proc.recorded(known[name]) for name in ("holder", "inner", "uplink") if known[name]}

    def _place(self, cluster: ClusterDir) -> dict[str, Any]:
        """Where the bridges are. UserError when that is gone."""
        known = files.read_json(cluster.net / "place.json")
        if known and known["own"] and not proc.recorded(known["inner"]):
            raise UserError("the network namespace of the cluster is gone: its holder has died", "xc start")
        return known

    def _links(self, cluster: ClusterDir, plan: dict[str, Any]) -> None:
        path = cluster.net / "links.json"
        files.write_json(path, plan)
        try:
            proc.output([*self.inside(cluster), sys.executable, "-I", str(LINKS), str(path)])
        except CommandError as error:
            said = str(error).splitlines()[-1].strip()
            raise UserError(f"the bridges cannot be made: {said}") from error

    def _uplink(self, cluster: ClusterDir, known: dict[str, Any]) -> None:
        """Guests go out by the uplink, with its address."""
        rules = cluster.net / "nft"
        if rules.exists():
            return
        rules.write_text(RULES)
        proc.output([*self.inside(cluster), proc.need("nft"), "-f", str(rules)])
        links = Path(f"/proc/{known['inner']['pid']}/net/dev")
        end = time.monotonic() + PATIENCE
        while f"{place.UP}:" not in links.read_text():
            if not proc.recorded(known["uplink"]) or time.monotonic() > end:
                raise UserError(f"{place.uplink()} does not connect the namespace: {_said(cluster)}")
            time.sleep(0.002)


def tap_name(net: int, number: int) -> str:
    """The tap of a node on a net, as upstream names it."""
    return f"xcbr{net}_t{number}"


def _plan(nodes: Sequence[Node], prefix: str) -> dict[str, Any]:
    """The bridges and taps of these nodes, for links.py.

    The host's MAC address is fixed: a bridge would take that of a tap, and saved nodes know it.
    """
    mtu = max(node.mtu for node in nodes)
    return {
        "bridges": [
            [
                f"xcbr{net}",
                f"00:00:00:01:{net:02x}:{HOST:02x}",
                [f"192.168.{net}.{HOST}/24", f"{prefix}:192.168.{net}.{HOST}/120"],
                mtu,
            ]
            for net in sorted({net for node in nodes for net in node.nets})
        ],
        "taps": [[tap_name(net, node.number), f"xcbr{net}", node.mtu] for node in nodes for net in node.nets],
    }


def _forwards(nodes: Sequence[Node], ports: Ports) -> list[list[Any]]:
    return [
        [forward.host_port, f"192.168.0.{node.number}", forward.guest_port]
        for node in nodes
        if 0 in node.nets
        for forward in ports.of(node.number)
    ]


def _tap_names(cluster: ClusterDir) -> list[str]:
    return list(files.read_json(cluster.net / "taps.json").get("taps", ()))


def _settle_here(cluster: ClusterDir) -> dict[str, Any]:
    """Use the namespace we are in."""
    known = {"own": False, "ns": _namespace()}
    cluster.net.mkdir(parents=True, exist_ok=True)
    files.write_json(cluster.net / "place.json", known)
    return known


def _settle(cluster: ClusterDir) -> dict[str, Any]:
    """Make a namespace of the cluster's own, with an uplink."""
    cluster.net.mkdir(parents=True, exist_ok=True)
    program = place.uplink()
    assert program
    user = not place.capable(place.SYS_ADMIN) or program == "pasta"  # which gives up root's rights first
    runas = ["--runas", "0"] if program == "pasta" and os.geteuid() == 0 else []
    outside = [proc.need(program), *runas, *OUTSIDE[program]]
    words = [sys.executable, "-I", "-S", str(HOLDER), str(cluster.net), "user" if user else "root", *outside]
    process = proc.spawn(words, cluster.net / LOG)
    known = {"own": True, "user": user, "holder": _identity(process.pid), "inner": None, "uplink": None}
    files.write_json(cluster.net / "place.json", known)
    end = time.monotonic() + PATIENCE
    while not (cluster.net / "holder").exists():
        if process.poll() is not None or time.monotonic() > end:
            raise UserError(f"the network namespace was not made: {_said(cluster)}")
        time.sleep(0.002)
    answer = _order(cluster, {})
    known |= {name: _identity(answer[name]) for name in ("inner", "uplink")}
    files.write_json(cluster.net / "place.json", known)
    return known


def _said(cluster: ClusterDir) -> str:
    said = (cluster.net / LOG).read_text(errors="replace").strip().splitlines()
    return said[-1] if said else "it said nothing"


def _identity(pid: int) -> dict[str, int | None]:
    return {"pid": pid, "start": proc.started_at(pid)}


def _order(cluster: ClusterDir, order: dict[str, Any]) -> dict[str, Any]:
    """Have the holder do something. UserError when it cannot."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(PATIENCE)
        try:
            link.connect(str(cluster.net / "holder"))
            link.sendall(json.dumps(order).encode() + b"\n")
            with link.makefile("rb") as lines:
                answer: dict[str, Any] = json.load(lines)
        except (OSError, ValueError) as error:
            raise UserError(f"the holder of the cluster's network does not answer: {error}") from error
    if "error" in answer:
        raise UserError(str(answer["error"]), "choose others with --ssh-base and --telnet-base")
    return answer


def _end(known: dict[str, Any]) -> None:
    """End the outer process: the inner one kills what is in the namespace, and ends."""
    proc.kill_recorded(known["holder"])
    end = time.monotonic() + PATIENCE
    while known["inner"] and proc.recorded(known["inner"]) and time.monotonic() < end:
        time.sleep(0.002)
    for name in ("inner", "uplink"):
        proc.kill_recorded(known[name] or {})


def _namespace() -> int:
    return Path("/proc/self/ns/net").stat().st_ino


def _check_same(known: dict[str, Any]) -> None:
    if known["ns"] != _namespace():
        raise UserError(
            "this cluster runs in a network namespace that we are not in", "go there: `xc nsenter N`"
        )


BACKEND = Bridge()
