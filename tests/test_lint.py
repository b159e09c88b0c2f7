"""The linters are tests: skipped where a tool is missing, but not in CI."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BIN = Path(sys.executable).parent


def tool(name: str) -> str:
    """The path of a tool, of this environment or of the host; the test is skipped when there is none."""
    path = shutil.which(name, path=f"{BIN}:{os.environ['PATH']}")
    if not path and os.environ.get("CI"):
        pytest.fail(f"{name} is missing, and in CI it must be there")
    return path or pytest.skip(f"{name} is not installed")


def passes(*argv: str | Path) -> None:
    """Run a linter; what it says is the failure."""
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def scripts() -> list[Path]:
    """Our shell scripts, of the host and of guests."""
    tops = [
        ROOT / folder
        for folder in ("xc", "Envsettings", "Envsettings.k8s", ".ci", "images", "ovl", "benchmarks", "tasks")
    ]
    paths = [path for top in tops for path in ([top] if top.is_file() else sorted(top.rglob("*")))]
    return [path for path in paths if path.is_file() and not path.is_symlink() and is_shell(path)]


def is_shell(path: Path) -> bool:
    """Whether the first line says that a shell runs it, or that shellcheck is to take it for one."""
    with path.open("rb") as file:
        line = file.readline(64)
    first = line.split()
    return line.startswith(b"# shellcheck shell=sh") or (
        bool(first) and first[0].startswith(b"#!") and first[-1].endswith(b"sh")
    )


def is_for_bash(path: Path) -> bool:
    """Whether the first line asks for bash; all others have to run in any shell."""
    with path.open("rb") as file:
        return file.readline(64).strip().endswith(b"bash")


def of_host(path: Path) -> bool:
    """Whether a script runs on the host; those of guests are for busybox, which knows more than dash."""
    return not any(part in ("rootfs", "default") for part in path.parts)


def test_ruff() -> None:
    passes(tool("ruff"), "check", "--quiet", ".")


def test_format() -> None:
    passes(tool("ruff"), "format", "--quiet", "--check", ".")


def test_types() -> None:
    passes(tool("mypy"))


def test_shell_scripts_parse() -> None:
    assert ROOT / "xc" in scripts()
    for path in scripts():
        passes(tool("bash" if is_for_bash(path) else "sh"), "-n", path)


def test_shellcheck() -> None:
    host = list(filter(of_host, scripts()))
    for shell in ("dash", "bash"):
        own = [path for path in host if is_for_bash(path) == (shell == "bash")]
        passes(tool("shellcheck"), "--severity=warning", f"--shell={shell}", *own)
    guest = [path for path in scripts() if not of_host(path)]
    excluded = "--exclude=SC3003,SC3028,SC3045"  # busybox has them: $'..', EPOCHSECONDS, read -t
    passes(tool("shellcheck"), "--severity=error", "--shell=dash", excluded, *guest)
