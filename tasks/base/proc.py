"""Runs programs: one place for quoting, logging, missing programs and interruption."""

import atexit
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tasks.base import progress
from tasks.base.errors import CommandError, UserError

Argv = Sequence[str | os.PathLike[str]]

# The Debian package of each program we call; `doctor` and `need` tell it to the user.
DEBIAN_PACKAGE = {
    "apt-get": "apt", "bc": "bc", "bison": "bison", "debugfs": "e2fsprogs", "depmod": "kmod",
    "dnsmasq": "dnsmasq-base", "dot": "graphviz", "dpkg-deb": "dpkg", "flex": "flex", "gcc": "gcc",
    "git": "git", "go": "golang-go", "gzip": "gzip", "ip": "iproute2", "make": "make", "mke2fs": "e2fsprogs",
    "nft": "nftables", "nsenter": "util-linux", "openssl": "openssl", "pasta": "passt",
    "qemu-img": "qemu-utils", "qemu-system-x86_64": "qemu-system-x86", "scp": "openssh-client",
    "setpriv": "util-linux", "slirp4netns": "slirp4netns", "socat": "socat", "sqfstar": "squashfs-tools",
    "ssh": "openssh-client", "ssh-keygen": "openssh-client", "tar": "tar", "unshare": "util-linux",
    "xterm": "xterm", "xz": "xz-utils", "zstd": "zstd",
}  # fmt: skip

INSTALL = "apt-get install --no-install-recommends"
# Before a command: it ends with the thread that started it, also when that is killed.
MORTAL = ("setpriv", "--pdeathsig", "KILL")

_running: set[subprocess.Popen[bytes]] = set()


def quoted(argv: Argv) -> str:
    """The command as one can paste it into a shell."""
    return shlex.join(str(word) for word in argv)


def find(program: str) -> str | None:
    """Where `program` is; /usr/sbin and /sbin count even where a user's PATH lacks them."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def need(program: str) -> str:
    """The path of `program`, or a UserError that names the Debian package which has it."""
    found = find(program)
    if found is None:
        package = DEBIAN_PACKAGE.get(program, program)
        raise UserError(f"the program '{program}' is missing", f"{INSTALL} {package}")
    return found


def run(
    argv: Argv,
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    clean_env: bool = False,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run `argv` to its end and return its stdout and stderr together.

    With `log`, the quoted command and all output go to that file (appended). `on_line` sees each line as it
    comes. `env` is added to ours, or with `clean_env` is all there is. Raises CommandError when it fails,
    UserError when the program is missing.
    """
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    progress.detail(f"+ {quoted(command)}")
    lines: list[str] = []
    sink = _open_log(log, command)
    with _startable(command):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**({} if clean_env else {**os.environ, "LC_ALL": "C.UTF-8"}), **(env or {})}, cwd=cwd,
            start_new_session=True,
        )  # fmt: skip
    _running.add(process)
    try:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            lines.append(line)
            if sink:
                sink.write(raw)
            if on_line:
                on_line(line)
        code = process.wait()
    finally:
        _end(process)
        if sink:
            sink.close()
    if code != 0:
        raise CommandError(_failure(command, code, lines), _next_step(lines, log))
    return "\n".join(lines)


def output(argv: Argv, *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> bytes:
    """Run `argv` and return its stdout alone; its stderr is in the CommandError when it fails."""
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    progress.detail(f"+ {quoted(command)}")
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}, cwd=cwd,
    )  # fmt: skip
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).decode(errors="replace").splitlines()
        raise CommandError(_failure(command, done.returncode, lines), _next_step(lines, None))
    return done.stdout


def spawn(
    argv: Argv, log: Path, *, env: Mapping[str, str] | None = None, listens: bool = False
) -> subprocess.Popen[bytes]:
    """Start a process that outlives us: own session, nothing inherited but a log file.

    One that `listens` has its stdin from us, and sees it end when we do.
    """
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    with log.open("ab") as sink:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE if listens else subprocess.DEVNULL, stdout=sink, stderr=sink,
            start_new_session=True, env={**os.environ, **(env or {})},
        )  # fmt: skip


def pipe(
    argv: Argv, *, env: Mapping[str, str] | None = None, stdout: IO[bytes] | int
) -> subprocess.Popen[bytes]:
    """Start `argv` with its stdout to `stdout` and stderr captured; the caller calls `finish`."""
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    _running.add(process)
    return process


def filter(argv: Argv) -> subprocess.Popen[bytes]:
    """Start `argv` between two pipes, stderr captured; the caller writes, reads and calls `finish`."""
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        start_new_session=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    _running.add(process)
    return process


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for a process made by `pipe`: its exit code and what it said on stderr."""
    try:
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace")
        return process.wait(), said
    finally:
        _end(process)


def started_at(pid: int) -> int | None:
    """The kernel's start time of `pid` in clock ticks (proc(5), field 22); None when it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def real_memory(pid: int) -> int:
    """KiB of memory of a process, pages shared with others counted in part (PSS); 0 when it does not run."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def mark(pid: int) -> dict[str, int | None]:
    """What a state file keeps of a process, for `recorded` and `kill_recorded`."""
    return {"pid": pid, "start": started_at(pid)}


def recorded(saved: Mapping[str, Any]) -> int | None:
    """The pid in a state file ({"pid", "start"}), if that very process still runs."""
    return int(saved["pid"]) if saved and started_at(int(saved["pid"])) == saved["start"] else None


def kill_recorded(saved: Mapping[str, Any]) -> None:
    """End the process of a state file, if it is still the one."""
    if saved:
        kill(int(saved["pid"]), int(saved["start"] or -1))


def kill(pid: int, start: int, grace: float = 2.0) -> None:
    """End process `pid` if it is still the one that started at `start`: SIGTERM, after `grace` s SIGKILL."""
    for sign, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        if started_at(pid) != start:
            return
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while started_at(pid) == start and time.monotonic() < deadline:
            time.sleep(0.01)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends whatever runs in the block, an event loop too, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _interrupt(*_: object) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell has it for what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _startable(command: list[str]) -> Iterator[None]:
    """A file that is no program is the user's mistake: no #! line, or an interpreter that is not there."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{command[0]} does not start: {error.strerror}", "look at its first line") from error


def _open_log(log: Path | None, command: list[str]) -> IO[bytes] | None:
    if log is None:
        return None
    log.parent.mkdir(parents=True, exist_ok=True)
    sink = log.open("ab")
    sink.write(f"$ {quoted(command)}\n".encode())
    return sink


def _next_step(lines: list[str], log: Path | None) -> str | None:
    if any("No space left on device" in line for line in lines):
        return "the disk is full: free some space, or set XCLUSTER_WORKSPACE to another disk"
    return f"full log: {log}" if log else None


def _failure(command: list[str], code: int, lines: list[str]) -> str:
    tail = "\n".join(f"    {line}" for line in lines[-15:] if line.strip())
    how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    return f"'{quoted(command)[:300]}' {how}" + (f":\n{tail}" if tail else "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of a program is left when we go on, also when we are interrupted."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    _running.discard(process)


@atexit.register
def _reap() -> None:
    for process in list(_running):
        _end(process)
