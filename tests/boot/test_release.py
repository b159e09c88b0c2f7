"""A release is made twice, by two users in two places, and used as its user would: without network."""

import os
import resource
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import files
from tests.boot.conftest import ROOT, with_packages
from tests.conftest import TASK_LINE, temporary
from tests.seeds.host_lines import INSTALLATION
from tests.seeds.shell import Shell

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3000)]
NOBODY = 65534
RELEASE = ("release", "--version=1.0-t", "--name=t-rel", "--dns-server=dnsmasq")
FILES = ["SHA256SUMS", "hd.img.xz", "provenance.json", "sbom.spdx.json", "xcluster-1.0-t.tar.xz"]
# All that a user's machine has: the shell, Python, QEMU and the few packages that the README names.
PROGRAMS = (
    "sh", "readlink", "dirname", "id", "cat", "tr", "cmp", "flock", "mv", "cp", "rm", "mktemp", "tail",
    "touch", "ip", "python3", "qemu-system-x86_64", "qemu-img", "ssh", "ssh-keygen", "scp", "socat", "mke2fs",
    "debugfs", "depmod", "nft", "slirp4netns", "dnsmasq", "nsenter", "unshare",
)  # fmt: skip
TRY = """
set -eu
ip link set lo up
trap './xc stop' EXIT
./xc starts --nvm=1 --nrouters=0
./xc rsh 1 'hostname; cat /etc/os-release'
./xc kernel:debian image:base ovl:env ovl:network-topology
"""


def clone(to: Path) -> Path:
    """A checkout of the files as they are here, as one commit that is the same whenever it is made."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)
    who = {
        key: "t"
        for key in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    }
    when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2025-01-01T00:00:00Z")
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *words], cwd=to, check=True, env={**os.environ, **who, **when})
    with (to / ".git/info/exclude").open("a") as exclude:
        exclude.write("/.venv\n")  # a link in one of the two
    return to


def run(
    command: list[str], cwd: Path, env: dict[str, str], umask: int = 0o022
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        command, cwd=cwd, env=env, umask=umask, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def plain_env() -> dict[str, str]:
    """Our environment, less what would change what is built."""
    gone = ("__", "xcluster_", "XCLUSTER", "GOPATH", "ARCHIVE", "SETUP", "SOURCE_DATE_EPOCH")
    return {key: value for key, value in os.environ.items() if not key.startswith(gone)}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout in which a release was made."""
    project = with_packages(clone(tmp_path_factory.mktemp("one") / "project"))
    (project / ".venv").symlink_to(ROOT / ".venv")
    done = run(["./xc", *RELEASE], project, plain_env())
    assert done.returncode == 0, done.stderr
    yield project
    files.remove(project)


@pytest.fixture(scope="module")
def release(project: Path) -> Path:
    """The files of a release."""
    return project / "workspace/release/1.0-t"


def test_what_a_release_consists_of(release: Path) -> None:
    assert sorted(path.name for path in release.iterdir()) == FILES
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=release, capture_output=True
    )
    assert done.returncode == 0 and done.stdout.count(b": OK") == len(FILES) - 1


def test_a_second_run_executes_nothing(project: Path) -> None:
    done = run(["./xc", *RELEASE], project, plain_env())
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@pytest.fixture
def home() -> Iterator[Path]:
    """A user's directory; its path is short enough for sockets."""
    folder = Path("/tmp") / f"xc-rel-{os.getpid()}"
    folder.mkdir()
    yield folder
    files.remove(folder)


def test_unpacked_it_starts_without_network_and_builds_nothing(release: Path, home: Path) -> None:
    (home / "bin").mkdir()
    for name in PROGRAMS:
        program = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
        assert program, name
        (home / "bin" / name).symlink_to(program)
    with tarfile.open(release / "xcluster-1.0-t.tar.xz") as tar:
        tar.extractall(home, filter="tar")
    here = home / "xcluster-1.0-t"
    manifest = files.read_json(here / "workspace/shipped.json")
    env = {"PATH": str(home / "bin"), "HOME": str(home), "LANG": "C.UTF-8"}
    done = run(["/usr/bin/unshare", "--net", "sh", "-c", TRY], here, env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("vm-001\n") and "ID=xcluster" in done.stdout
    executed = {each.group(1) for line in done.stderr.splitlines() if (each := TASK_LINE.match(line))}
    assert executed == {"golden"}, done.stderr  # the one thing that is made of this host too
    assert "0 B downloaded" in done.stderr
    assert not (here / "workspace/cache").exists()
    assert len(manifest["files"]) > 200
    assert [name for name, (sha, _) in manifest["files"].items() if files.sha256(here / name) != sha] == []
    assert list((here / "workspace/run").iterdir()) == []


def test_installed_as_xclusters_readme_does_it(release: Path, home: Path) -> None:
    """Word for word, at a terminal, from an archive in ~/Downloads."""
    (home / "Downloads").mkdir()
    name = "xcluster-1.0-t.tar.xz"
    (home / "Downloads" / name).symlink_to(release / name)
    with Shell(home, {**plain_env(), "HOME": str(home), "VERSION": "1.0-t"}) as shell:
        for line in INSTALLATION:
            shell.answers(line)
        status, output = shell.typed("xc env", 120)
    assert status == 0 and f"XCLUSTER='{home}/xcluster-1.0-t/xc'" in output, output


def test_the_same_bytes_by_another_user_elsewhere(project: Path, release: Path) -> None:
    home = Path("/tmp") / f"xc release {os.getpid()}"
    try:
        other = with_packages(clone(home / "another place"))
        shutil.copytree(project / "workspace/wheels", other / "workspace/wheels")  # for its .venv
        as_user = []
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(home)], check=True)
            as_user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not p.startswith("/root"))
        env = {
            **plain_env(),
            "HOME": str(home),
            "PATH": f"{path}:/usr/sbin:/sbin",
            "TZ": "Asia/Tokyo",
            "LC_ALL": "C",
        }
        done = run([*as_user, "taskset", "-c", "0", "./xc", *RELEASE], other, env, umask=0o077)
        assert done.returncode == 0, done.stderr
        folder = other / "workspace/release/1.0-t"
        assert [n for n in FILES if files.sha256(folder / n) != files.sha256(release / n)] == []
    finally:
        files.remove(home)


def test_neither_a_kill_nor_a_full_disk_leaves_half_a_release(project: Path) -> None:
    words = ["./xc", "release", "--version=2", *RELEASE[2:]]
    folder = project / "workspace/release"
    process = subprocess.Popen(
        words, cwd=project, env=plain_env(), stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 600
    while not list(folder.glob(".2.*.tmp/*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(folder.glob(".2.*.tmp/*")) and not (folder / "2").exists()
    limit = (9 << 20, 9 << 20)  # above all that is written on the way to the archives
    done = subprocess.run(
        words, cwd=project, env=plain_env(), capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    assert (
        done.returncode == 1 and "larger than files may be" in done.stderr and "Traceback" not in done.stderr
    )
    assert not (folder / "2").exists() and temporary(folder) == []
    assert run(words, project, plain_env()).returncode == 0
    differ = run(["./xc", "diff", "1.0-t", "2"], project, plain_env())
    assert differ.returncode == 1
    assert [line.split()[1] for line in differ.stdout.splitlines()] == [
        "SHA256SUMS", "provenance.json", "sbom.spdx.json", "xcluster.tar.xz!workspace/shipped.json",
    ]  # fmt: skip
