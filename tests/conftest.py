"""A small project in a temporary directory, run as users run theirs; and programs that only pretend."""

import compileall
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tasks.base import files, interpreter, signals

ROOT = Path(__file__).resolve().parents[1]
CODE = ("tasks", "dodo.py", "xc", "pyproject.toml")
TASK_LINE = re.compile(r"^([a-z]+(?::\S+)?) {2,}(?!done in )\S")
MACHINES = (
    "boot",
    "overlays",
    "k8s",
    "kernels",
    "faults/test_machine.py",
    "faults/test_signals.py",
)  # directories, and files
# These take long and share nothing: one boots nothing, the other has workspaces and a network of its own.
BESIDE = ("tests/boot/test_compile.py", "tests/boot/test_release.py")
OURS = (
    "__",
    "xcluster_",
    "XCLUSTER",
    "XOVLS",
    "SETUP",
    "TOPOLOGY",
    "PYTHON",
    "SOURCE_DATE_EPOCH",
    "GOPATH",
    "ARCHIVE",
)
DEFINITIONS = {
    "kernel/debian.yaml": "summary: a kernel\nprebuilt:\n  package: linux-image-cloud-amd64\n",
    "images/base/image.yaml": "summary: an image\npackages: [libc6]\n",
    "ovl/a/ovl.yaml": "# a comment\nsummary: first\n",
    "ovl/a/default/etc/a.conf": "a\n",
    "ovl/a/default/bin/run": "#!/bin/sh\necho a\n",
    "ovl/b/ovl.yaml": "summary: second\n",
    "ovl/b/default/etc/b.conf": "b\n",
    "xcluster.yaml": "ovls: a b\n",
}


def is_beside(nodeid: str) -> bool:
    """Whether a test may run at the same time as those that boot machines in the shared workspace."""
    return nodeid.partition("::")[0] in BESIDE


class Apart(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that boot machines stay in one process: they share clusters, and a host can carry so many.

    They take the longest; the other process has what goes beside them, and all the tests that boot nothing.
    A mark xdist_group would say the same, but does nothing with xdist 3.8 and pytest 9.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if is_beside(nodeid):
            return file
        with_machines = any(file.removeprefix("tests/").startswith(place) for place in MACHINES)
        return "machines" if with_machines else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Apart:
    """How tests are dealt out."""
    return Apart(config, log)


def eventually(what: Callable[[], object], seconds: float = 60, pause: float = 0.02) -> None:
    """`what` has to come true; in as many seconds, as a busy machine may stand still for some."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(pause)


def is_named(folder: Path, config: pytest.Config) -> bool:
    """Whether the run names this directory of tests, or something in it."""
    words = (Path(word.partition("::")[0]).resolve() for word in map(str, config.invocation_params.args))
    return any(path.is_relative_to(folder) for path in words)


def is_left_out(path: Path, folder: Path, config: pytest.Config) -> bool | None:
    """For `pytest_ignore_collect`: tests of `folder` are for a run that names it, or one of them."""
    return True if path.name.startswith("test_") and not is_named(folder, config) else None


def take_long(items: Sequence[pytest.Item], folder: Path, seconds: float) -> None:
    """For `pytest_collection_modifyitems`: tests of `folder` boot machines, and may take so many seconds."""
    for item in items:
        if item.path.parent == folder:
            item.add_marker(pytest.mark.boot)
            item.add_marker(pytest.mark.timeout(seconds))


@dataclass(frozen=True)
class Ran:
    """How a run of the project ended."""

    code: int
    out: str
    err: str

    @property
    def tasks(self) -> set[str]:
        """The tasks that were executed."""
        return {match.group(1) for line in self.err.splitlines() if (match := TASK_LINE.match(line))}

    @property
    def clean(self) -> bool:
        """Whether there is no traceback."""
        return "Traceback" not in self.err + self.out


@dataclass(frozen=True)
class Checkout:
    """A project of its own: the repository's code, and definitions that a test may change."""

    root: Path

    @property
    def workspace(self) -> Path:
        """Where it builds."""
        return self.root / "workspace"

    @property
    def iso(self) -> Path:
        """The overlay ISO of the default cluster."""
        return self.workspace / "iso" / "xcluster.iso"

    @property
    def command(self) -> list[str]:
        """What the script `xc` becomes, past the set-up of a fresh machine."""
        return [sys.executable, "-S", *interpreter.ISOLATED, str(self.root / "tasks" / "__main__.py")]

    def tar(self, name: str) -> Path:
        """The tar of an overlay."""
        return self.workspace / "ovl" / f"{name}.tar"

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of the project."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def start(
        self, *words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> "subprocess.Popen[str]":
        """Begin `xc WORDS`, past the set-up of a fresh machine."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        return subprocess.Popen(
            [*self.command, *words], cwd=cwd or self.root, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env={**clean, "HOME": str(self.root / "home"), **(env or {})},
        )  # fmt: skip

    def xc(self, *words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
        """Run `xc WORDS` to its end."""
        process = self.start(*words, env=env, cwd=cwd)
        return ended(process)

    def good(self, *words: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
        """As `xc`, and it must end well."""
        ran = self.xc(*words, env=env, cwd=cwd)
        assert ran.code == 0, ran.err
        return ran

    def bad(self, *words: str, code: int, says: tuple[str, ...], env: Mapping[str, str] | None = None) -> Ran:
        """As `xc`, and it must end with `code`, say all of `says`, and show no traceback."""
        ran = self.xc(*words, env=env)
        assert ran.clean, ran.err
        assert ran.code == code, ran.err
        for text in says:
            assert text in ran.err
        return ran


def ended(process: "subprocess.Popen[str]", timeout: float = 60) -> Ran:
    """Wait for a process that `Checkout.start` began."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Ran(process.returncode, out, err)


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's code, compiled once for all projects."""
    folder = tmp_path_factory.mktemp("code")
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    compileall.compile_dir(folder, quiet=1)
    return folder


@pytest.fixture
def checkout(code: Path, tmp_path: Path) -> Checkout:
    """A project with two overlays."""
    return new_checkout(code, tmp_path / "project")


def new_checkout(code: Path, root: Path) -> Checkout:
    """Make the project of the fixture `checkout` at `root`."""
    project = Checkout(root)
    shutil.copytree(code, root)
    for path, text in DEFINITIONS.items():
        project.write(path, text, 0o755 if path.endswith("bin/run") else 0o644)
    return project


@dataclass(frozen=True)
class Fakes:
    """Programs that come first in PATH and note how they are called."""

    folder: Path

    def program(self, name: str, script: str = "") -> None:
        """Make the program `name`: it notes its argv, then does what `script` (for sh) says."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{self.folder}/{name}.calls"\n{script}\n')
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """The words of each call so far."""
        noted = self.folder / f"{name}.calls"
        return noted.read_text().splitlines() if noted.is_file() else []


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """An empty directory first in PATH."""
    folder = tmp_path / "fakes"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Fakes(folder)


@pytest.fixture
def handled() -> Iterator[None]:
    """Signals are handled in this process as in a run of ours, until the test has ended."""
    signs = (*signals.TEXTS, signal.SIGALRM)
    before, hook = [signal.getsignal(sign) for sign in signs], sys.unraisablehook
    signals.install(str)
    yield
    signals.accept()
    sys.unraisablehook = hook
    for sign, handler in zip(signs, before, strict=True):
        signal.signal(sign, handler)


def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory, for a fixture."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    yield from mounted(tmp_path / "tiny", "size=64k")


@pytest.fixture
def readonly(tmp_path: Path) -> Iterator[Path]:
    """A directory nobody can write to, root neither."""
    yield from mounted(tmp_path / "readonly", "ro")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A server of the files in `tmp_path`/web on loopback; its URL, with / at the end."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def content(root: Path) -> dict[str, str]:
    """Every file below `root` with the sha256 of its content: for a comparison before and after."""
    return {str(path.relative_to(root)): files.sha256(path) for path in files.tree_files(root)}


def temporary(root: Path) -> list[str]:
    """What a writer that did not end well would leave below `root`."""
    return sorted(
        path.name for path in root.rglob("*") if path.name.endswith((".tmp", ".part", ".tree", ".lock"))
    )
