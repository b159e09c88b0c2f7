"""One row of the tables of faults: what a user brought, what is typed, and what has to come of it."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.conftest import OURS, Checkout, content, temporary

SECONDS = 60  # nothing that a user brought may take longer than this before it is answered
CRASH = ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error", "DeprecationWarning")


@dataclass
class Bench:
    """Where a row is tried: a checkout of its own, and a directory beside it that nothing may change."""

    checkout: Checkout
    outside: Path
    env: dict[str, str] = field(default_factory=dict)
    xc: str = ""
    has_cluster: bool = False  # which the row may leave running, for its test to stop
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def root(self) -> Path:
        """The checkout's directory."""
        return self.checkout.root

    @property
    def workspace(self) -> Path:
        """Where it builds."""
        return Path(self.env.get("XCLUSTER_WORKSPACE") or self.checkout.workspace)

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> Path:
        """Write a file of the checkout."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(mode)
        return file

    def serve(self, handler: type[BaseHTTPRequestHandler]) -> str:
        """Answer requests on loopback until the row has ended. Returns the URL, which ends with /."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        self.stack.callback(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}/"

    def shell(self, script: str, timeout: float = SECONDS) -> "subprocess.CompletedProcess[str]":
        """Run a line for bash in the checkout. In it $xc is ours, and $outside is the directory beside it."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        env = {
            **clean, "HOME": str(self.root / "home"), "root": str(self.root),
            "outside": str(self.outside), "xc": self.xc, **self.env,
        }  # fmt: skip
        return subprocess.run(
            ["bash", "-c", script], cwd=self.root, env=env, capture_output=True, text=True, check=False,
            errors="replace", stdin=subprocess.DEVNULL, timeout=timeout,
        )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of a row."""

    code: int
    out: str
    err: str


def nothing(bench: Bench) -> None:
    """Nothing has to be prepared, or looked at."""


@dataclass(frozen=True)
class Case:
    """A row: its name, the line that is typed, and the right outcome.

    `line` is for bash; `$xc` stands for our command. `says` are texts that stderr has, `shows` those that
    stdout has, `never` those that neither has. `prepare` brings the odd input; `left` looks at what is left,
    and asserts. `then` is a line that has to succeed afterwards: nothing was spoiled.
    """

    name: str
    line: str
    code: int = 0
    says: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    prepare: Callable[[Bench], None] = nothing
    left: Callable[[Bench], None] = nothing
    env: Mapping[str, str] = field(default_factory=dict)
    then: str = ""
    seconds: float = SECONDS
    resumable: bool = False  # a part of a download stays, for the next run to go on with


def answered(case: Case, bench: Bench) -> Outcome:
    """Try a row, and assert all that holds for every row: no crash, no leftovers, nothing outside touched."""
    bench.env.update(case.env)
    canary = bench.outside / "canary"
    canary.write_text("not ours\n")
    case.prepare(bench)
    before, begun = content(bench.outside), unfinished(bench)
    done = bench.shell(case.line, case.seconds)
    shown = f"$ {case.line}\nexit {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    assert not [word for word in CRASH if word in done.stdout + done.stderr], shown
    assert done.returncode == case.code, shown
    assert [text for text in case.says if text not in done.stderr] == [], shown
    assert [text for text in case.shows if text not in done.stdout] == [], shown
    assert [text for text in case.never if text in done.stdout + done.stderr] == [], shown
    assert content(bench.outside) == before, f"something outside was changed\n{shown}"
    left = [name for name in unfinished(bench) if name not in begun]
    assert [name for name in left if not (case.resumable and name.endswith(".part"))] == [], shown
    case.left(bench)
    if case.then:
        again = bench.shell(case.then)
        assert again.returncode == 0, f"afterwards: $ {case.then}\n{again.stdout}{again.stderr}"
    assert bench.has_cluster or left_running(bench) == [], shown
    return Outcome(done.returncode, done.stdout, done.stderr)


def unfinished(bench: Bench) -> list[str]:
    """Temporary files in the workspace of a row."""
    return temporary(bench.workspace) if bench.workspace.is_dir() else []


def left_running(bench: Bench) -> list[str]:
    """Command lines of processes that were started for a row and still run."""
    mark = str(bench.root).encode()
    commands = []
    for proc in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (proc / "cmdline").read_bytes()
            if mark in words + (proc / "environ").read_bytes():
                commands.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return commands


def on_bench(checkout: Checkout, folder: Path) -> Iterator[Bench]:
    """A bench for a fixture."""
    outside = folder / "outside"
    outside.mkdir()
    bench = Bench(checkout, outside, xc=" ".join(checkout.command))
    with bench.stack:
        yield bench
