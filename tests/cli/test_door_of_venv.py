"""What `xc` says of places where it can make no .venv, or has none that it may use; nothing is made."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def status(folder: Path, *before: str) -> "subprocess.CompletedProcess[str]":
    """`./xc status` in a directory that has nothing but what `xc` asks for."""
    folder.mkdir(exist_ok=True)
    for name in ("xc", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return subprocess.run(
        [*before, "./xc", "status"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_colon_in_the_path(tmp_path: Path) -> None:
    done = status(tmp_path / "a:b")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("xc: Python makes no .venv in a path with ':'"), done.stderr
    assert sorted(os.listdir(tmp_path / "a:b")) == ["pyproject.toml", "xc"]


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_a_python_that_another_user_cannot_reach(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "own/python").touch(0o755)
    (tmp_path / "c/.venv/bin").mkdir(parents=True)
    (tmp_path / "c/.venv/bin/python").symlink_to(tmp_path / "own/python")
    done = status(tmp_path / "c", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert done.returncode == 1
    assert done.stderr.startswith("xc: the Python of .venv cannot be reached by this user"), done.stderr
    assert str(tmp_path / "own/python") in done.stderr
