"""A network namespace of the cluster's own, with a way out: made, told what to forward, and ended.

holder.py keeps it. `net/place.json` in the cluster's directory says which processes belong to it.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from tasks.base import helper, proc, records, unix_sockets
from tasks.base.errors import UserError
from tasks.base.paths import ClusterDir
from tasks.base.records import Mark
from tasks.build.containers.registry_server import Server
from tasks.definitions import addresses
from tasks.run.net import host_support
from tasks.run.net.net_state import PLACE, NetPlace

HOLDER = Path(__file__).parent / "programs" / "holder.py"
LOG = "holder.log"
PATIENCE = 10.0  # seconds for the holder to answer, and to go
OUTSIDE = {  # how each of the programs connects a namespace with the outside
    "slirp4netns": ["--configure", "--mtu=65520", "{pid}", host_support.UP],
    "pasta": [
        "--foreground", "--quiet", "--ipv4-only", "--config-net", "--ns-ifname", host_support.UP,
        "--address", "10.0.2.100", "--netmask", "24", "--gateway", addresses.UPLINK_HOST, "--mtu", "65520",
        "--dns-forward", addresses.UPLINK_DNS,
        "-t", "none", "-u", "none", "-T", "none", "-U", "none",
        "--userns", "/proc/{pid}/ns/user", "--netns", "/proc/{pid}/ns/net",
    ],
}  # fmt: skip

REGISTRY = 5000  # the port of a private registry, unless one runs at another


def rules(registry: set[int]) -> str:
    """For nft: what guests send out has the address of the uplink.

    As in user space they reach a registry on the host's loopback, at one of these ports, as 192.168.0.250.
    """
    ports = ", ".join(map(str, sorted(registry)))
    return f"""table ip xcluster {{
  chain in {{
    type nat hook prerouting priority dstnat
    ip daddr {addresses.v4(0, addresses.HOST)} tcp dport {{ {ports} }} dnat to {addresses.UPLINK_HOST}
  }}
  chain out {{
    type nat hook postrouting priority srcnat
    oifname {host_support.UP} ip saddr {addresses.subnet4(0)} masquerade
  }}
}}
"""


def joining(place: NetPlace) -> list[str]:
    """The words that must precede a command, so that it runs in the namespace."""
    user = ["--user", "--preserve-credentials"] if place.user else []
    return [proc.need("nsenter"), "--target", str(_inner(place).pid), *user, "--net"]


def _inner(place: NetPlace) -> Mark:
    """The process in the namespace. UserError when a start was killed before it was known."""
    if place.inner is None:
        raise UserError(
            "the network namespace of the cluster was never finished",
            "start it again: xc stop, then xc start",
        )
    return place.inner


def make(cluster: ClusterDir) -> NetPlace:
    """Make a namespace of the cluster's own, with an uplink."""
    cluster.net.mkdir(parents=True, exist_ok=True)
    program = host_support.uplink()
    assert program
    user = (
        not host_support.capable(host_support.SYS_ADMIN) or program == "pasta"
    )  # which gives up root's rights first
    runas = ["--runas", "0"] if program == "pasta" and os.geteuid() == 0 else []
    outside = [proc.need(program), *runas, *OUTSIDE[program]]
    words = [sys.executable, "-I", "-S", str(HOLDER), str(cluster.net), "user" if user else "root", *outside]
    holder = helper.Helper(
        "the network namespace could not be made", words, cluster.net / PLACE, cluster.net / LOG, cluster.root
    )
    ready = (cluster.net / "holder").exists
    place = helper.start(holder, lambda _: ready(), lambda mark: NetPlace(own=True, user=user, holder=mark))
    try:
        answer = order(cluster, {})
        marks = {name: Mark.of(int(answer[name])) for name in ("inner", "uplink")}
    except BaseException:
        end(place, cluster)
        holder.state.unlink()
        raise
    place = place.model_copy(update=marks)
    records.write(cluster.net / PLACE, place)
    return place


def order(cluster: ClusterDir, what: dict[str, Any]) -> dict[str, Any]:
    """Have the holder do something. UserError when it cannot."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(PATIENCE)
        try:
            unix_sockets.connect(link, cluster.net / "holder")
            link.sendall(json.dumps(what).encode() + b"\n")
            with link.makefile("rb") as lines:
                answer: dict[str, Any] = json.load(lines)
        except (OSError, ValueError) as error:
            raise UserError(
                f"the process that keeps the cluster's network namespace does not answer: {error}"
            ) from error
    if "error" in answer:
        raise UserError(str(answer["error"]), "choose others with --ssh-base and --telnet-base")
    return answer


def end(place: NetPlace, cluster: ClusterDir) -> None:
    """End the outer process: the inner one kills what is in the namespace, and ends.

    A copy of another cluster's files names the namespace of that one, which is left alone.
    """
    marks = [mark for mark in (place.holder, place.inner, place.uplink) if mark]
    if not all(records.is_of(mark, cluster.net / PLACE) for mark in marks):
        return
    if place.holder:
        place.holder.end()
    until = time.monotonic() + PATIENCE
    while place.kept and time.monotonic() < until:
        time.sleep(0.002)
    for mark in (place.inner, place.uplink):
        if mark:
            mark.end()


def connect(cluster: ClusterDir, place: NetPlace) -> None:
    """Guests go out by the uplink, with its address."""
    file = cluster.net / "nft"
    if file.exists():
        return
    runs = Server(cluster.workspace.registry).running() or {}
    file.write_text(rules({REGISTRY, int(runs.get("port", REGISTRY))}))
    proc.output([*joining(place), proc.need("nft"), "-f", str(file)])
    links = Path(f"/proc/{_inner(place).pid}/net/dev")
    until = time.monotonic() + PATIENCE
    while f"{host_support.UP}:" not in links.read_text():
        if not (place.uplink and place.uplink.running) or time.monotonic() > until:
            reason = helper.end_of(cluster.net / LOG)
            raise UserError(f"{host_support.uplink()} could not connect the namespace: {reason}")
        time.sleep(0.002)
