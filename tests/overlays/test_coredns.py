"""CoreDNS: what a release brings of it, and what it answers in guests."""

import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import files
from tests.boot.conftest import ROOT, Cluster, assert_nothing_left, build, with_packages
from tests.boot.test_release import PROGRAMS, clone, plain_env, run

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3000)]
# Nothing is compiled where it is unpacked: there is no Go, and no network.
TRY = """
set -eu
ip link set lo up
trap './xc dns stop' EXIT
./xc artifact:coredns
./xc dns start
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A user's directory; its path is short enough for sockets."""
    folder = Path("/tmp") / f"xc-dns-{os.getpid()}"
    folder.mkdir()
    yield folder
    files.remove(folder)


def test_a_release_brings_one(home: Path) -> None:
    project = with_packages(clone(home / "project"))
    (project / ".venv").symlink_to(ROOT / ".venv")
    go = ROOT / "workspace/cache/go"
    caches = {"GOMODCACHE": str(go / "mod"), "GOCACHE": str(go / "build")}
    words = ["./xc", "release", "--version=1.0-t", "--name=t-rel", "--dns-server=coredns"]
    done = run(words, project, {**plain_env(), **caches})
    assert done.returncode == 0, done.stderr
    with tarfile.open(project / "workspace/release/1.0-t/xcluster-1.0-t.tar.xz") as tar:
        tar.extractall(home, filter="tar")
    (home / "bin").mkdir()
    for name in PROGRAMS:
        (home / "bin" / name).symlink_to(str(shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")))
    env = {"PATH": str(home / "bin"), "HOME": str(home), "LANG": "C.UTF-8"}
    done = run(["/usr/bin/unshare", "--net", "sh", "-c", TRY], home / "xcluster-1.0-t", env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "workspace/bin/coredns (process" in done.stdout and "artifact:coredns" not in done.stderr
    sbom = files.read_json(project / "workspace/release/1.0-t/sbom.spdx.json")
    assert any(package["name"] == "coredns" for package in sbom["packages"])


@pytest.mark.parametrize("program", ["coredns", "dnsmasq"])
def test_the_same_questions_on_the_same_ports(program: str) -> None:
    """The lines that xcluster's document types in a guest, with its old prefix, where every name resolves."""
    name = "t-coredns"
    cluster = Cluster(name)
    if program == "coredns":
        build("artifact:coredns")
    cluster.xc("mkcdrom", "env", "network-topology", "iptools", "dns")
    cluster.xc("starts", "--nvm=1", "--nrouters=0", f"--dns-server={program}", "--dns=on", "--prefix=1000::1",
               "--net=bridge")  # fmt: skip
    try:
        cluster.xc("fakenet", "start")
        listed = cluster.xc("enter", "netstat", "-lputan").stdout.splitlines()
        assert {line.split()[0] for line in listed if ":::10053" in line} == {"tcp6", "udp6"}
        assert all(program in line for line in listed if ":10053" in line)
        for server in ("192.168.0.250:10053", "[1000::1:192.168.0.250]:10053", ""):
            answer = cluster.until(1, f"nslookup www.google.se {server}")
            assert "203.0.113.80" in answer, answer
        for words in ("-4 @127.0.0.1 -t A", "-6 @::1 -t AAAA", "@192.168.0.250 +tcp -t A"):
            answer = cluster.xc("enter", "dig", *words.split(), "-p", "10053", "vm-001").stdout
            assert "status: NOERROR" in answer and "ANSWER: 1" in answer, answer
    finally:
        cluster.xc("stop")
    assert_nothing_left(name)
