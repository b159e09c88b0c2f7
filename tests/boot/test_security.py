"""Who may reach what: the lines of docs/security.md that need a cluster in user space."""

import http.server
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tasks.base.paths import Workspace
from tasks.run.running import processes
from tests.boot.conftest import WORKSPACE, Cluster

pytestmark = pytest.mark.boot
NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
LISTENS = "0A"  # the state of a listening socket in /proc/net/tcp


def pids(cluster: Cluster) -> dict[int, str]:
    """The processes of a cluster, and what each is."""
    every = processes.of(Workspace(WORKSPACE).cluster(cluster.name))
    return {process.mark.pid: process.argv[0] for process in every}


def listening(pid: int) -> set[str]:
    """Addresses, in hex as the kernel has them, at which a process listens for TCP."""
    names = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    inodes = {name[len("socket:[") : -1] for name in names if name.startswith("socket:[")}
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {words[1].partition(":")[0] for words in lines if words[3] == LISTENS and words[9] in inodes}


def facts(pid: int) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_every_machine_filters_its_own_system_calls(base: Cluster) -> None:
    machines = [pid for pid, program in pids(base).items() if "qemu-system" in program]
    assert len(machines) == 5
    for pid in machines:
        status = facts(pid)
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")


def test_nothing_listens_beyond_the_loopback(base: Cluster) -> None:
    addresses = set().union(*(listening(pid) for pid in pids(base)))
    assert addresses == {"0100007F"}, "127.0.0.1 and nothing else"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("name", ["qmp", "console", "control"])
def test_another_user_reaches_no_socket_of_a_node(base: Cluster, name: str) -> None:
    path = base.directory / "vm-001" / name
    assert path.is_socket()
    with socket.socket(socket.AF_UNIX) as ours:  # it is not the length of its name that keeps them out
        ours.connect(f"/proc/self/fd/{os.open(path.parent, os.O_PATH)}/{name}")
    connect = ["socat", "-u", "OPEN:/dev/null", f"UNIX-CONNECT:{path}"]
    done = subprocess.run([*AS_NOBODY, *connect], capture_output=True, text=True)
    assert "Permission denied" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("path", ["keys", "run/t-base", "keys/id_ed25519", "run/t-base/vm-001/disk.qcow2"])
def test_another_user_reads_neither_keys_nor_disks(base: Cluster, path: str) -> None:
    target = str(WORKSPACE / path)
    done = subprocess.run([*AS_NOBODY, "head", "-c1", target], capture_output=True, text=True)
    listing = subprocess.run([*AS_NOBODY, "ls", target], capture_output=True, text=True)
    assert "Permission denied" in done.stderr + listing.stderr and done.stdout + listing.stdout == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_reaches_the_ssh_port_and_gets_no_further(base: Cluster) -> None:
    port = next(node["ssh"] for node in base.status()["nodes"] if node["number"] == 1)
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    done = subprocess.run(
        [*AS_NOBODY, "ssh", "-F", "none", *options, "-p", str(port), "root@127.0.0.1", "true"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": "/"},
    )  # fmt: skip
    assert done.returncode == 255 and "Permission denied (publickey" in done.stderr, done.stderr


def test_a_guest_of_user_space_reaches_the_hosts_loopback(base: Cluster) -> None:
    """As docs/security.md warns; this is how guests use a registry or a proxy of the host."""

    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"the host's own")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        url = f"http://192.168.0.250:{server.server_port}/"
        assert base.rsh(1, f"wget -q -O - {url}") == "the host's own"
        server.shutdown()
