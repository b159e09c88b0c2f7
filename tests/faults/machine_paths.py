"""Rows: workspaces whose path has odd signs, or is long, with all that a cluster does in them."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.boot.conftest import WORKSPACE
from tests.faults.case import Bench, Case

SIGNS = "a b%c\"d'e,f$g:h=i#j?k*l[m];n&o é"
# One line a step; each has to end well.
EVERYTHING = " && ".join(
    (
        "$xc start --nvm=1 --nrouters=1 --net={net}",
        "$xc rsh 1 hostname",
        "$xc rcp 1 /etc/hostname copied",
        "$xc logs 1 | tail -n 1",
        "$xc scaleout 2",
        "$xc checkpoint save odd",
        "$xc stop",
        "$xc checkpoint restore odd",
        "$xc rsh 2 hostname",
        "$xc checkpoint rm odd",
        "$xc stop",
    )
)


def within(name: str) -> Callable[[Bench], None]:
    """A workspace of this name, with the downloads of the repository's own."""

    def prepare(bench: Bench) -> None:
        workspace = bench.outside.parent / name
        cache = workspace / "cache"
        cache.mkdir(parents=True)
        copy = shutil.copytree if os.stat(WORKSPACE).st_dev != os.stat(cache).st_dev else _linked
        copy(WORKSPACE / "cache/apt", cache / "apt")
        bench.env["XCLUSTER_WORKSPACE"] = str(workspace)
        bench.stack.callback(shutil.rmtree, workspace)
        bench.stack.callback(bench.shell, "$xc stop")

    return prepare


def _linked(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-al", str(source), str(target)], check=True)


def is_stopped(bench: Bench) -> None:
    """The last step was `stop`, which leaves no directory; and the file came."""
    assert list((bench.workspace / "run").glob("*")) == []
    copied = bench.root / "copied"
    assert copied.read_text() == "vm-001\n"
    copied.unlink()


CASES = [
    Case(
        f"a workspace with {what} in its path, nets in {net}", EVERYTHING.format(net=net), seconds=400,
        prepare=within(name), left=is_stopped, shows=("vm-001\n", "vm-002\n"),
        never=("golden snapshot, nodes boot",),
    )
    for what, name, net in (
        ("odd signs", SIGNS, "userspace"),
        ("odd signs", SIGNS, "bridge"),
        ("200 letters", "l" * 100 + "/" + "o" * 100, "userspace"),
        ("200 letters", "l" * 100 + "/" + "o" * 100, "bridge"),
    )
]  # fmt: skip
