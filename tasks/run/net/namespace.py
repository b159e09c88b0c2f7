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

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.base.paths import ClusterDir
from tasks.build.containers.registry_server import Server
from tasks.definitions import addresses
from tasks.run.net import host_support

HOLDER = Path(__file__).parent / "programs" / "holder.py"
LOG = "holder.log"
PATIENCE = 10.0  # seconds for the holder to be there, and to go
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


def joining(known: dict[str, Any]) -> list[str]:
    """What stands before a command that is to run in the namespace."""
    user = ["--user", "--preserve-credentials"] if known["user"] else []
    return [proc.need("nsenter"), "--target", str(known["inner"]["pid"]), *user, "--net"]


def alive(known: dict[str, Any]) -> bool:
    """Whether the namespace is still kept."""
    return proc.recorded(known["inner"] or {}) is not None


def make(cluster: ClusterDir) -> dict[str, Any]:
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
    process = proc.spawn(words, cluster.net / LOG)
    known = {"own": True, "user": user, "holder": proc.mark(process.pid), "inner": None, "uplink": None}
    files.write_json(cluster.net / "place.json", known)
    until = time.monotonic() + PATIENCE
    while not (cluster.net / "holder").exists():
        if process.poll() is not None or time.monotonic() > until:
            raise UserError(f"the network namespace was not made: {_said(cluster)}")
        time.sleep(0.002)
    answer = order(cluster, {})
    known |= {name: proc.mark(answer[name]) for name in ("inner", "uplink")}
    files.write_json(cluster.net / "place.json", known)
    return known


def _said(cluster: ClusterDir) -> str:
    said = (cluster.net / LOG).read_text(errors="replace").strip().splitlines()
    return said[-1] if said else "it said nothing"


def order(cluster: ClusterDir, what: dict[str, Any]) -> dict[str, Any]:
    """Have the holder do something. UserError when it cannot."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(PATIENCE)
        try:
            link.connect(str(cluster.net / "holder"))
            link.sendall(json.dumps(what).encode() + b"\n")
            with link.makefile("rb") as lines:
                answer: dict[str, Any] = json.load(lines)
        except (OSError, ValueError) as error:
            raise UserError(f"the holder of the cluster's network does not answer: {error}") from error
    if "error" in answer:
        raise UserError(str(answer["error"]), "choose others with --ssh-base and --telnet-base")
    return answer


def end(known: dict[str, Any]) -> None:
    """End the outer process: the inner one kills what is in the namespace, and ends."""
    proc.kill_recorded(known["holder"])
    until = time.monotonic() + PATIENCE
    while known["inner"] and proc.recorded(known["inner"]) and time.monotonic() < until:
        time.sleep(0.002)
    for name in ("inner", "uplink"):
        proc.kill_recorded(known[name] or {})


def connect(cluster: ClusterDir, known: dict[str, Any]) -> None:
    """Guests go out by the uplink, with its address."""
    file = cluster.net / "nft"
    if file.exists():
        return
    runs = Server(cluster.workspace.registry).running() or {}
    file.write_text(rules({REGISTRY, int(runs.get("port", REGISTRY))}))
    proc.output([*joining(known), proc.need("nft"), "-f", str(file)])
    links = Path(f"/proc/{known['inner']['pid']}/net/dev")
    until = time.monotonic() + PATIENCE
    while f"{host_support.UP}:" not in links.read_text():
        if not proc.recorded(known["uplink"]) or time.monotonic() > until:
            raise UserError(f"{host_support.uplink()} does not connect the namespace: {_said(cluster)}")
        time.sleep(0.002)
