"""Every verb, with standard streams that are full, closed, slow or not read."""

import fcntl
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.cli import table
from tasks.project.command_line import Needs
from tests.conftest import OURS, Checkout, new_checkout
from tests.faults.case import CRASH

SMALL = 4096  # bytes of a pipe, so that it is full before its reader has begun
# What is typed for each verb: it builds nothing, and tells something or is refused.
WORDS = {
    "start": "start --dry-run", "starts": "starts --dry-run", "k8s": "k8s --dry-run", "stop": "stop",
    "status": "status -o json", "scaleout": "scaleout 4 --dry-run", "scalein": "scalein 4",
    "checkpoint": "checkpoint list", "kubeconfig": "kubeconfig --print", "boot_vm": "boot_vm 1 --nets=x",
    "xvm": "xvm 999", "svm": "svm 0",
    "stop_vm": "stop_vm 1", "reset_vm": "reset_vm 1", "rsh": "rsh 1 true", "rcp": "rcp 1 a b", "vm": "vm 1",
    "console": "console 1", "logs": "logs 1", "enter": "enter true",
    "link": "link 1", "netem": "netem 1",
    "tcpdump": "tcpdump 1 eth1", "graph": "graph -o json", "verify": "verify al", "dns": "dns status",
    "fakenet": "fakenet status", "nsadd": "nsadd x", "nsenter": "nsenter 987 true", "br_setup": "br_setup x",
    "nsdel": "nsdel x", "mkcdrom": "mkcdrom a --dry-run", "mkovl": "mkovl a --template=b",
    "menuconfig": "menuconfig debain", "update": "update x", "lock": "lock --x", "fetch": "fetch --x",
    "cache": "cache ls", "images": "images ls", "registry": "registry status", "inject": "inject aa",
    "release": "release aa --dry-run", "diff": "diff ovl/a ovl/b", "doctor": "doctor", "test": "test quik",
    "help": "help", "version": "version", "list": "list --all", "info": "info ovl:a",
    "clean": "clean -n ovl:a",
    "forget": "forget ovl:a", "ignore": "ignore", "run": "run aa", "dumpdb": "dumpdb",
    "reset-dep": "reset-dep ovl:a", "tabcompletion": "tabcompletion", "env": "env", "ovld": "ovld a",
    "cached_tar": "cached_tar a", "geometry": "geometry 1 1", "ovlindex": "ovlindex --src=ovl",
    "install_prog": "install_prog", "cplib": "cplib", "libs": "libs", "cploader": "cploader",
    "completion": "completion bash", "mkimage": "mkimage --image=bse", "ximage": "ximage --image=x aa",
    "kernel_build": "kernel_build --kver=debain", "build_base": "build_base --x=y /",
    "k8s_build_images": "k8s_build_images", "k8s_test": "k8s_test aa", "k8s_workspace": "k8s_workspace --x /",
    "collect_tar": "collect_tar aa", "cat_tar": "cat_tar aa", "cpio_list": "cpio_list ovl",
    "emit_cpio_list": "emit_cpio_list ovl", "busybox_build": "busybox_build --menuconfig",
    "dropbear_build": "dropbear_build", "iproute2_build": "iproute2_build", "base_archives": "base_archives",
    "env_check": "env_check", "mark": "mark --x",
    "masq": "masq x", "nssetup": "nssetup x", "nsadd_docker": "nsadd_docker x", "docker_net": "docker_net x",
}  # fmt: skip
MORE = (
    "--version", "__complete sta", "nosuch", "status --nosuch", "ovl:aa", "ovl:a --dry-run", "list --nosuch",
    "info", "help start", "start --help", "stop --dry-run -o json", "graph --help", "completion sta",
    "-q stop",
    "status --progress=json",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: bytes
    err: bytes

    def check(self, words: str) -> None:
        """Nothing of it looks like a crash."""
        text = (self.out + self.err).decode(errors="replace")
        assert not [each for each in CRASH if each in text], f"{words}: {text}"


def command(root: Path) -> str:
    """Our command, for a shell."""
    return " ".join(Checkout(root).command)


def run(
    root: Path, words: str, ends: str = "", stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> Ended:
    """Run `xc WORDS`; `ends` are redirections of a shell, the streams are pipes if nothing else is given."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    done = subprocess.run(
        ["bash", "-c", f"exec {command(root)} {words} {ends}"], cwd=root, timeout=60, check=False,
        env={**clean, "HOME": str(root / "home")},
        stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout or b"", done.stderr or b"")


def slow(root: Path, words: str) -> Ended:
    """The same with pipes that are small, do not wait for their reader, and are read late."""
    ends = [os.pipe(), os.pipe()]
    content = [b"", b""]

    def read(index: int) -> None:
        time.sleep(0.2)
        with open(ends[index][0], "rb") as file:
            content[index] = file.read()

    for _, write in ends:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, SMALL)
        os.set_blocking(write, False)
    readers = [threading.Thread(target=read, args=[index]) for index in (0, 1)]
    for reader in readers:
        reader.start()
    code = run(root, words, stdout=ends[0][1], stderr=ends[1][1]).code
    for _, write in ends:
        os.close(write)
    for reader in readers:
        reader.join()
    return Ended(code, content[0], content[1])


def not_read(root: Path, words: str) -> Ended:
    """The same, and nobody reads stdout any more."""
    read, write = os.pipe()
    os.close(read)
    ended = run(root, words, stdout=write)
    os.close(write)
    return ended


@pytest.fixture(scope="module")
def root(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout for all verbs, in which overlay a has been packed."""
    project = new_checkout(code, tmp_path_factory.mktemp("out") / "project")
    project.good("ovl:a")
    return project.root


def expected(usual: Ended) -> tuple[int, ...]:
    """The exit code if nothing can be written to stdout: 1 where there was something to write."""
    return (usual.code or 1,) if usual.out else (usual.code,)


def check(root: Path, words: str, ways: int) -> None:
    """Run it as usual, and then with the streams in other states."""
    usual = run(root, words)
    usual.check(words)
    states: list[tuple[Callable[[], Ended], tuple[int, ...]]] = [
        (lambda: run(root, words, ">/dev/full 2>/dev/full"), expected(usual)),
        (lambda: slow(root, words), (usual.code,)),
        (lambda: run(root, words, ">&- 2>&- <&-"), expected(usual)),
        (lambda: not_read(root, words), (usual.code, 0)),
    ]
    for number, (state, codes) in enumerate(states[:ways]):
        ended = state()
        ended.check(words)
        assert ended.code in codes, f"{words}, state {number}: {ended}, usually {usual}"
        assert ended.err.count(b"cannot write to stdout") <= 1
        if number == 1:
            assert len(ended.out) == len(usual.out), words


def test_every_verb_is_here() -> None:
    assert set(WORDS) == set(table.VERBS)


@pytest.mark.parametrize("verb", WORDS)
def test_verb(root: Path, verb: str) -> None:
    quick = table.VERBS[verb].needs is Needs.NOTHING
    check(root, WORDS[verb], 4 if quick else 2)


@pytest.mark.parametrize("words", MORE)
def test_other_words(root: Path, words: str) -> None:
    check(root, words, 2)


def test_help_of_every_verb(root: Path) -> None:
    lines = " ".join(
        f"{command(root)} {verb} --help >/dev/full; [ $? = 1 ] || echo {verb};" for verb in WORDS
    )
    done = subprocess.run(["bash", "-c", lines], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_a_socket_that_does_not_wait(checkout: Checkout) -> None:
    """As node.js gives its children: a socket cannot be opened again."""
    ours_end, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    theirs.setblocking(False)
    content = bytearray()

    def read() -> None:
        time.sleep(0.2)
        while block := ours_end.recv(4096):
            content.extend(block)

    reader = threading.Thread(target=read)
    reader.start()
    ended = run(checkout.root, "list --all", stdout=theirs.fileno())
    theirs.close()
    reader.join()
    assert ended.code == 0 and len(content) > SMALL
