"""All of it as an ordinary user, in a checkout of their own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import ROOT, WORKSPACE

pytestmark = [pytest.mark.boot, pytest.mark.skipif(os.geteuid() != 0, reason="is an ordinary user already")]
NOBODY = 65534


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A copy of the project that belongs to nobody, with the downloads but nothing that was built."""
    home = Path("/tmp") / f"xc-user-{os.getpid()}"
    project = home / "project"
    ignored = shutil.ignore_patterns("workspace", ".git", ".venv*", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, project, symlinks=True, ignore=ignored)
    shutil.copytree(WORKSPACE / "cache" / "apt", project / "workspace" / "cache" / "apt", symlinks=True)
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(home)], check=True)
    yield project
    shutil.rmtree(home)


def as_nobody(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run xc as uid 65534, with nothing of root's environment but the way out."""
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
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "./xc", *words],
        cwd=project, env={**env, **own}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_start_and_stop_without_root(checkout: Path) -> None:
    done = as_nobody(checkout, "starts", "--nvm=1", "--nrouters=1", "--name=t-nobody", "--ssh-base=31000")
    assert done.returncode == 0, done.stderr
    assert "2 nodes in" in done.stderr
    said = as_nobody(checkout, "rsh", "--name=t-nobody", "1", "hostname; ping -c1 -W5 192.168.1.201")
    assert said.returncode == 0 and said.stdout.startswith("vm-001"), said.stdout + said.stderr
    for words in (
        ("netem", "--name=t-nobody", "1", "eth0", "--delay=1ms"),
        ("tcpdump", "--name=t-nobody", "--start", "1", "eth0"),
        ("link", "--name=t-nobody", "1", "eth1", "down"),
    ):
        done = as_nobody(checkout, *words)
        assert done.returncode == 0, done.stderr
    assert as_nobody(checkout, "stop", "--name=t-nobody").returncode == 0
    assert list((checkout / "workspace" / "run").iterdir()) == []
