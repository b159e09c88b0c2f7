"""All of it as an ordinary user, in a checkout of their own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, processes_of, with_packages

pytestmark = [pytest.mark.boot, pytest.mark.skipif(os.geteuid() != 0, reason="is an ordinary user already")]
NOBODY = 65534


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A copy of the project that belongs to nobody, with the downloads but nothing that was built."""
    home = Path("/tmp") / f"xc-user-{os.getpid()}"
    project = home / "project"
    # t-*: definitions that other tests make and remove
    ignored = shutil.ignore_patterns("workspace", ".git", ".venv*", "__pycache__", ".*_cache", "t-*")
    shutil.copytree(ROOT, project, symlinks=True, ignore=ignored)
    with_packages(project)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(home)], check=True)
    yield project
    shutil.rmtree(home)


def as_nobody(project: Path, *words: str, tun: str = "") -> "subprocess.CompletedProcess[str]":
    """Run xc as uid 65534, with nothing of root's environment but the way out.

    `tun` makes /dev/net/tun, on an empty /dev/net.
    """
    device = f'mount -t tmpfs none /dev/net; {tun} exec "$@"'
    home = project.parent
    passed = (
        "PATH",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    )
    env = {name: os.environ[name] for name in passed if name in os.environ}
    path = os.pathsep.join(part for part in env["PATH"].split(os.pathsep) if not part.startswith("/root"))
    own = {"HOME": str(home), "USER": "nobody", "LANG": "C.UTF-8", "PATH": f"{path}:/usr/sbin:/sbin"}
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", device, "sh",
         "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "./xc", *words],
        cwd=project, env={**env, **own}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_start_and_stop_without_root(checkout: Path) -> None:
    done = as_nobody(checkout, "starts", "--nvm=1", "--nrouters=1", "--name=t-nobody", "--ssh-base=31000")
    assert done.returncode == 0, done.stderr
    assert "2 nodes in" in done.stderr
    assert "net=userspace (no bridges: there is no /dev/net/tun" in done.stderr
    done = as_nobody(checkout, "rsh", "--name=t-nobody", "1", "hostname; ping -c1 -W5 192.168.1.201")
    assert done.returncode == 0 and done.stdout.startswith("vm-001"), done.stdout + done.stderr
    for words in (
        ("netem", "--name=t-nobody", "1", "eth0", "--delay=1ms"),
        ("tcpdump", "--name=t-nobody", "--start", "1", "eth0"),
        ("link", "--name=t-nobody", "1", "eth1", "down"),
    ):
        done = as_nobody(checkout, *words)
        assert done.returncode == 0, done.stderr
    assert as_nobody(checkout, "stop", "--name=t-nobody").returncode == 0
    assert list((checkout / "workspace" / "run").iterdir()) == []


MANY = Path("/etc/subuid").is_file() and Path("/etc/subgid").is_file() and shutil.which("newuidmap")


@pytest.mark.parametrize(
    "many", [False, pytest.param(True, marks=pytest.mark.skipif(not MANY, reason="there is no uidmap"))]
)
def test_containers_without_root(checkout: Path, many: bool) -> None:
    """With one id, an ssh server that gives up groups has to be told that it has; with subordinate ids files
    belong to others, whom nobody else may remove.
    """
    ids = checkout.parent / "ids"
    ids.write_text("nobody:1000000:65536\n" if many else "")
    given = f"mount --bind {ids} /etc/subuid; mount --bind {ids} /etc/subgid;" if MANY else ""

    def xc(*words: str, ok: bool = True) -> str:
        tun = f"mknod /dev/net/tun c 10 200; chmod 666 /dev/net/tun; {given}"
        done = as_nobody(checkout, words[0], "--name=t-nobody", *words[1:], tun=tun)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    try:
        output = xc("starts", "--node=container", "--ssh-base=31000", "--mtu=9000")
        assert "6 nodes in" in output and "net=bridge (in a user namespace, uplink by " in output
        xc("rsh", "1", "ping -c1 -W5 -s 8000 192.168.1.202 && ping -c1 -W5 fd00::192.168.1.4")
        assert "what does not hold is --mem, --smp\n" in output
        assert xc("rsh", "1", "ulimit -u").strip() == "1024"
        xc("netem", "1", "eth1", "--delay=200ms")
        assert re.search(r"time=[2-9]\d\d\.", xc("rsh", "1", "ping -c1 -W5 192.168.1.202"))
        xc("link", "1", "eth1", "down")
        xc("rsh", "1", "ping -c1 -W1 192.168.1.202", ok=False)
        xc("link", "1", "eth1", "up")
        xc("netem", "1", "eth1", "off")
        for number in ("1", "2"):
            xc("rsh", number, "mkdir /opt/d; echo x > /opt/d/f; chown -R 12:34 /opt/d; chmod 700 /opt/d")
        owner = xc("rsh", "1", "stat -c %u:%g /opt/d/f").strip()
        assert owner == ("12:34" if many else "0:0")
        assert "uid=65534" in xc("rsh", "1", "su nobody -s /bin/sh -c id") or not many
        xc("rsh", "1", "mount -t devtmpfs none /mnt", ok=False)
        record = json.loads((checkout / "workspace/run/t-nobody/vm-002/node.json").read_text())
        os.kill(record["pid"], signal.SIGKILL)
        xc("scalein", "2")
        xc("scaleout", "9")
    finally:
        xc("stop")
    assert list((checkout / "workspace" / "run").iterdir()) == []
    assert processes_of("t-nobody") == []


def test_bridges_without_root(checkout: Path) -> None:
    """As on most hosts: everybody may open /dev/net/tun, and have a user namespace."""

    def xc(*words: str, ok: bool = True) -> str:
        tun = "mknod /dev/net/tun c 10 200; chmod 666 /dev/net/tun;"
        done = as_nobody(checkout, words[0], "--name=t-nobody", *words[1:], tun=tun)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    try:
        output = xc("starts", "--nvm=2", "--nrouters=0", "--ssh-base=31000", "--mtu=9000")
        assert "net=bridge (in a user namespace, uplink by " in output
        assert xc("rsh", "1", "hostname").strip() == "vm-001"
        for address in ("192.168.1.2", "fd00::192.168.1.2", "192.168.0.2"):
            xc("rsh", "1", f"ping -c1 -W5 -s 8000 {address}")
        bits = xc("rsh", "1", "cat /sys/class/net/eth1/device/features")
        assert bits[0] == bits[11] == "1", "checksums and segmentation were not agreed on"
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            way = "ip route replace 10.0.2.0/24 via 192.168.0.250"
            xc("rsh", "1", f"{way}; echo hello | nc -w 5 10.0.2.2 {port} >/dev/null &")
            server.settimeout(20)
            assert server.accept()[0].recv(6) == b"hello\n"
        xc("checkpoint", "save", "kept")
        xc("checkpoint", "restore", "kept")
        xc("rsh", "1", "ping -c1 -W5 192.168.1.2")
        xc("scaleout", "3")
        assert "xcbr1_t3" in xc("enter", "ip", "-o", "link")
        assert "already" not in xc("nsadd", "9", ok=False)
    finally:
        xc("stop")
    assert list((checkout / "workspace" / "run").iterdir()) == []
    assert processes_of("t-nobody") == []
