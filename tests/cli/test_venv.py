"""The script `xc` and its .venv, which it makes, looks at, and makes anew. These tests need a network."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Checkout, new_checkout

SMALL = 'dependencies = ["PyYAML"]'  # `status` needs no package at all


def status(checkout: Checkout, user: int = 0) -> "subprocess.CompletedProcess[str]":
    """`./xc status` in the checkout."""
    env = {**os.environ, "HOME": str(checkout.root / "home"), "PYTHONPATH": "/nowhere"}
    drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    return subprocess.run(
        [*drop, "./xc", "status"], cwd=checkout.root, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, env=env,
    )  # fmt: skip


def packages(checkout: Checkout) -> Path:
    (folder,) = (checkout.root / ".venv").glob("lib/python3*/site-packages")
    return folder


def lose_a_package(checkout: Checkout) -> None:
    subprocess.run(["rm", "-r", packages(checkout) / "yaml"], check=True)


def lose_the_interpreter(checkout: Checkout) -> None:
    python = checkout.root / ".venv/bin/python3"
    python.unlink()
    python.symlink_to("/nowhere/python3.10")


def have_another_version(checkout: Checkout) -> None:
    """The host's Python was upgraded: packages are where the new one does not look."""
    folder = packages(checkout).parent
    folder.rename(folder.with_name("python3.1"))


def be_a_file(checkout: Checkout) -> None:
    venv = checkout.root / ".venv"
    venv.rename(checkout.root / "old")
    venv.write_text("")


BROKEN = (lose_a_package, lose_the_interpreter, have_another_version, be_a_file)


@pytest.fixture(scope="module")
def own(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with a .venv of its own, made by `xc`."""
    checkout = new_checkout(code, tmp_path_factory.mktemp("venv") / "project")
    file = checkout.root / "pyproject.toml"
    file.write_text(re.sub(r"^dependencies = \[.*?^\]", SMALL, file.read_text(), flags=re.M | re.S))
    assert SMALL in file.read_text()
    checkout.workspace.mkdir()
    done = status(checkout)
    if "network" in done.stderr:
        pytest.skip("pip cannot fetch anything here")
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "xc: setting up .venv")
    return checkout


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_venv_is_made_anew(own: Checkout, fault: Callable[[Checkout], None]) -> None:
    fault(own)
    done = status(own)
    assert done.returncode == 0 and ".venv" in done.stderr.splitlines()[0], done.stderr
    assert (packages(own) / "yaml/loader.py").is_file()
    assert status(own).stderr == "cluster 'xcluster' is not running\n"


def test_a_module_that_is_lost_is_noticed_when_it_is_needed(own: Checkout) -> None:
    """The directory of packages has the same time as before; so the next run is told to look at them."""
    done = subprocess.run(["./xc", "list"], cwd=own.root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 2), done.stderr
    assert done.stderr.startswith("error: a Python package that is needed cannot be loaded: No module named")
    assert "run it again" in done.stderr
    assert not (own.root / ".venv/made-by").exists()
    assert status(own).returncode == 0


def test_what_may_not_be_written_is_used_as_it_is_and_else_refused(own: Checkout) -> None:
    """Neither a stamp of another time, nor one that is missing, keeps another user from working."""
    for folder in own.root.parents:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    own.root.chmod(0o755)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    # By a shell, as `xc` does: the first program still finds its way with root's rights.
    python = ["sh", "-c", '"$0" -c ""', str(own.root / ".venv/bin/python")]
    if subprocess.run([*user, *python], capture_output=True).returncode:
        pytest.skip("another user, who may run this Python, is needed")
    os.utime(packages(own))
    assert status(own, user=65534).returncode == 0
    lose_a_package(own)
    refused = status(own, user=65534)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr.startswith(f"xc: cannot write to {own.root}")
