"""Runs programs: one place for quoting, logging, missing programs and interruption."""

import atexit
import contextlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tasks.base import environment, progress, signals
from tasks.base.errors import CommandError, UserError

if TYPE_CHECKING:
    from tasks.base.patience import Patience

Argv = Sequence[str | os.PathLike[str]]
Process = subprocess.Popen[bytes]

# The Debian package of each program that we call; messages of `doctor` and `need` name it.
DEBIAN_PACKAGE = {
    "apt-config": "apt", "apt-get": "apt", "bc": "bc", "bison": "bison",
    "debugfs": "e2fsprogs", "depmod": "kmod", "dnsmasq": "dnsmasq-base", "dot": "graphviz",
    "dpkg-deb": "dpkg", "flex": "flex", "gcc": "gcc", "git": "git", "go": "golang-go", "gzip": "gzip",
    "ip": "iproute2", "make": "make", "mke2fs": "e2fsprogs",
    "nft": "nftables", "nsenter": "util-linux", "openssl": "openssl", "pasta": "passt",
    "qemu-img": "qemu-utils", "qemu-system-x86_64": "qemu-system-x86", "scp": "openssh-client",
    "setpriv": "util-linux", "slirp4netns": "slirp4netns", "socat": "socat", "sqfstar": "squashfs-tools",
    "ssh": "openssh-client", "ssh-keygen": "openssh-client", "tar": "tar", "unshare": "util-linux",
    "xterm": "xterm", "xz": "xz-utils", "zstd": "zstd",
}  # fmt: skip

INSTALL = "apt-get install --no-install-recommends"
UMASK = 0o022  # of programs that build: it must not depend on who builds
# Put before a command: the command then ends when the thread that started it ends, even if that is killed.
MORTAL = ("setpriv", "--pdeathsig", "KILL")

GLANCE = 0.1  # seconds
PIPE = 1 << 20  # bytes, more than a pipe holds

_running: set[subprocess.Popen[bytes]] = set()
signals.whole(subprocess.Popen.__init__)


def quoted(argv: Argv) -> str:
    """The command in a form that can be pasted into a shell."""
    return shlex.join(str(word) for word in argv)


def find(program: str) -> str | None:
    """The path of `program`, or None. /usr/sbin and /sbin are searched even if they are not in PATH."""
    return shutil.which(program, path=f"{environment.path()}:{environment.SYSTEM}")


def need(program: str) -> str:
    """The path of `program`. Raises a UserError that names the Debian package with it if it is missing."""
    path = find(program)
    if path is None:
        package = DEBIAN_PACKAGE.get(program, program)
        raise UserError(f"the program '{program}' is missing", f"{INSTALL} {package}")
    return path


def run(  # noqa: PLR0913  each is one of subprocess's, by keyword
    argv: Argv,
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    clean_env: bool = False,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    wait: "Patience | None" = None,
) -> str:
    """Run `argv` to its end, but not what it left running; its stdout and stderr together.

    With `log`, the quoted command and all output are appended to that file. `on_line` is called with each
    line as it comes. `env` is added to the environment that programs get, or with `clean_env` is all of it.
    Raises CommandError when the program fails, or when `wait` is over; UserError when it is missing.
    """
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    progress.detail(f"+ {quoted(command)}")
    lines: list[str] = []
    sink = _open_log(log, command)
    with _startable(command):
        process = _begun(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=env if clean_env else environment.of_programs(env), cwd=cwd, umask=UMASK,
        )  # fmt: skip
    try:
        with _watched(process, wait, command):
            for raw in _lines(process):
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


def output(
    argv: Argv, *, env: Mapping[str, str] | None = None, clean_env: bool = False, cwd: Path | None = None,
    wait: "Patience | None" = None,
) -> bytes:  # fmt: skip
    """Run `argv` as `run` does and return its stdout alone; its stderr is in the CommandError."""
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    progress.detail(f"+ {quoted(command)}")
    # Files and not pipes: a pipe ends only when all that the program left running have ended, too.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = _begun(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env=env if clean_env else environment.of_programs(env), cwd=cwd,
        )  # fmt: skip
        try:
            with _watched(process, wait, command):
                process.wait()
        finally:
            _end(process)
        data, complaint = (os.pread(each.fileno(), os.fstat(each.fileno()).st_size, 0) for each in (out, err))
    if process.returncode != 0:
        lines = (complaint or data).decode(errors="replace").splitlines()
        raise CommandError(_failure(command, process.returncode, lines), _next_step(lines, None))
    return data


@contextlib.contextmanager
def _watched(process: Process, wait: "Patience | None", command: list[str]) -> Iterator[None]:
    """End a program that downloads, and moves next to nothing."""
    if wait is None:
        yield
        return
    from tasks.base import bounded, patience

    try:
        with bounded.watched(process, wait):
            yield
    except patience.GivenUp as error:
        raise CommandError(f"{Path(command[0]).name} was ended: {error}", patience.LATER) from None


@signals.whole
def _begun(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own. It is ended with us, if nobody has ended it before."""
    signals.check()
    process: subprocess.Popen[bytes] = subprocess.Popen(command, start_new_session=True, **how)
    _running.add(process)
    return process


@signals.whole
def spawn(
    argv: Argv, log: Path, *, env: Mapping[str, str] | None = None, listens: bool = False
) -> subprocess.Popen[bytes]:
    """Start a process that outlives us: it has a session of its own and inherits nothing but a log file.

    With `listens`, its stdin is a pipe from us, so it sees the end of its input when we end.
    """
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    with log.open("ab") as sink:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE if listens else subprocess.DEVNULL, stdout=sink, stderr=sink,
            start_new_session=True, env=environment.of_programs(env),
        )  # fmt: skip


def pipe(
    argv: Argv, *, env: Mapping[str, str] | None = None, stdout: IO[bytes] | int
) -> subprocess.Popen[bytes]:
    """Start `argv` with `stdout` as its stdout and with its stderr captured; the caller calls `finish`."""
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    return _begun(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
        env=environment.of_programs(env),
    )  # fmt: skip


def filter(argv: Argv, stdout: IO[bytes] | int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start `argv` between two pipes, or from a pipe to `stdout`, with its stderr captured.

    The caller writes, reads and calls `finish`.
    """
    command = [need(str(argv[0])), *(str(word) for word in argv[1:])]
    return _begun(
        command, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, bufsize=0,
        env=environment.of_programs(),
    )  # fmt: skip


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for a process that `pipe` or `filter` started: its exit code and its stderr."""
    try:
        assert process.stderr is not None
        text = process.stderr.read().decode(errors="replace")
        return process.wait(), text
    finally:
        _end(process)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What a program prints, line by line, until it ends; what it left running may still hold its stdout."""
    assert process.stdout is not None
    handle, rest, ended = process.stdout.fileno(), b"", False
    while not ended:
        readable, _, _ = select.select([handle], [], [], GLANCE)
        ended = process.poll() is not None  # all that it wrote is in the pipe now
        block = os.read(handle, PIPE) if readable or select.select([handle], [], [], 0)[0] else b""
        ended |= bool(readable) and not block
        *lines, rest = (rest + block).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


@contextlib.contextmanager
def _startable(command: list[str]) -> Iterator[None]:
    """A file that cannot be executed (no #! line, or a missing interpreter) is the user's mistake."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot start {command[0]}: {error.strerror}",
            "if it is a script, look at its first line: it must name an interpreter that is there",
        ) from error


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


@signals.whole
def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of the program is left afterwards, also when we were interrupted."""
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


@signals.before_end
def _kill() -> None:
    """Other threads would wait for their programs, and we for these threads."""
    for process in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
