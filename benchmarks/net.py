"""Network backends.

Bridges and taps of 100 nodes on 3 nets, against `ip -batch` that makes the same. Then two nodes on net 1:
time to send 16 MiB by TCP, and 100 round trips, on bridges against user space.

    python -m benchmarks.net [links|nodes]
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import ROOT, compare, row
from tasks.definitions.settings import Settings
from tasks.run.net import bridge, host_support

CLUSTER = "bench-net"
ROUNDS = 3
AMOUNT = 16  # MiB
NODES = Settings(nvm=100, nrouters=0, nets_vm="0,1,2").nodes()


class Space:
    """A fresh network namespace each time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.prefix: list[str] = []

    def renew(self) -> None:
        """Leave the old one, which goes."""
        self.close()
        words = [*host_support.fence(), "sh", "-c", "echo; exec cat"]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        self._process.stdout.readline()
        user = [] if host_support.capable(host_support.SYS_ADMIN) else ["--user", "--preserve-credentials"]
        self.prefix = ["nsenter", "--target", str(self._process.pid), *user, "--net"]

    def run(self, *words: str) -> None:
        """Run a command in it."""
        subprocess.run([*self.prefix, *words], check=True, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        """Nothing is left of it."""
        if self._process:
            self._process.kill()
            self._process.communicate()


def batch() -> Iterator[str]:
    """The same as ours for `ip -batch`."""
    yield "link set lo up"
    for net in (0, 1, 2):
        name = f"xcbr{net}"
        yield f"link add {name} address 00:00:00:01:{net:02x}:fa type bridge group_fwd_mask 0x4000"
        yield f"link set {name} alias xcluster mtu 1500 up"
        yield f"address add 192.168.{net}.250/24 dev {name}"
        yield f"address add fd00::192.168.{net}.250/120 dev {name} nodad"
    for node in NODES:
        for net in node.nets:
            tap = bridge.tap_name(net, node.number)
            yield f"tuntap add dev {tap} mode tap vnet_hdr"
            yield f"link set {tap} addrgenmode none mtu 1500 master xcbr{net} up"


def links(folder: Path) -> None:
    """Bridges and taps, ours against `ip -batch`."""
    plan, script = folder / "plan.json", folder / "batch"
    plan.write_text(json.dumps(bridge.plan(NODES, "fd00:")))
    script.write_text("\n".join(batch()) + "\n")
    space = Space()
    compare(
        "bridges and taps of 100 nodes on 3 nets, against ip -batch",
        lambda: space.run(sys.executable, "-I", str(bridge.LINKS), str(plan)),
        lambda: space.run("ip", "-batch", str(script)),
        before=space.renew,
    )
    space.close()


def xc(*words: str) -> str:
    """Run a verb for the cluster of this benchmark; its stdout."""
    done = subprocess.run(
        ["./xc", words[0], "--name", CLUSTER, *words[1:]],
        cwd=ROOT, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout


def measure(net: str) -> tuple[list[float], list[float]]:
    """Seconds to send AMOUNT, and for 100 round trips, between two nodes."""
    xc("starts", "--nvm=2", "--nrouters=0", f"--net={net}")
    xc("rsh", "1", "iperf3 -s -D; sleep 1")
    sends, trips = [], []
    for _ in range(ROUNDS):
        output = xc("rsh", "2", f"iperf3 -c 192.168.1.1 -n {AMOUNT}M -f m -J")
        sends.append(float(json.loads(output)["end"]["sum_received"]["seconds"]))
        output = xc("rsh", "2", "ping -q -c 100 -i 0.02 192.168.1.1")
        average = re.search(r"min/avg/max = [0-9.]+/([0-9.]+)/", output)
        assert average, output
        trips.append(float(average.group(1)) / 10)
    return sends, trips


def nodes() -> None:
    """Two nodes: bridges against user space."""
    xc("mkcdrom", "env", "network-topology", "iperf3")
    try:
        ours, theirs = measure("bridge"), measure("userspace")
    finally:
        xc("stop")
        xc("mkcdrom")
    row(f"{AMOUNT} MiB by TCP on bridges, against user space", ours[0], theirs[0])
    row("100 round trips on bridges, against user space", ours[1], theirs[1])


def main(what: str) -> None:
    """All, or what is asked for."""
    if what in ("", "links"):
        with tempfile.TemporaryDirectory() as folder:
            links(Path(folder))
    if what in ("", "nodes"):
        nodes()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
