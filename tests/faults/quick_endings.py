"""Rows: clusters and leftovers are ended, whatever is in place of their files."""

import os
from collections.abc import Callable

from tests.faults.case import Bench, Case


def instead(make: Callable[[str], object]) -> Callable[[Bench], None]:
    """Something else is where cluster.json should be."""

    def prepare(bench: Bench) -> None:
        place = bench.workspace / "run/one"
        place.mkdir(parents=True)
        make(str(place / "cluster.json"))

    return prepare


def gone(bench: Bench) -> None:
    """Nothing of a cluster is left."""
    assert list((bench.workspace / "run").iterdir()) == []


def scratch(bench: Bench) -> None:
    """What a writer that was killed has left."""
    for name in ("iso/.x.iso.4194303.tmp", "cache/sha256/abc.part", "kernel/.tree.4194303.tmp/file"):
        path = bench.workspace / name
        path.parent.mkdir(parents=True)
        path.touch()


def swept(bench: Bench) -> None:
    """It is gone."""
    assert not [path for path in bench.workspace.rglob("*") if path.name.endswith((".tmp", ".part"))]


def scripts_left(bench: Bench) -> None:
    """What scripts keep for clusters of which nothing runs, and the times of `xc mark`."""
    for name in ("one", "two"):
        folder = bench.workspace / "tmp" / name
        (folder / "screen").mkdir(parents=True)
        (folder / "screen/log").touch(0o400)
    (folder / "marks").touch()


def only_marks(bench: Bench) -> None:
    """Of what scripts kept, only the times are left, where there were some."""
    assert sorted(path.name for path in (bench.workspace / "tmp").rglob("*")) == ["marks", "two"]


CASES = [
    Case(
        "stop where only files of scripts are left", "$xc stop --name=one; $xc stop --name=two",
        says=("cluster 'one' is not running",), prepare=scripts_left, left=only_marks,
    ),
    Case(
        "stop --all where only files of scripts are left", "$xc stop --all",
        prepare=scripts_left, left=only_marks,
    ),
    Case(
        "status of a cluster whose file is a pipe", "$xc status --name=one", seconds=20,
        prepare=instead(os.mkfifo), shows=("a pipe or a device", "xc stop --name=one"),
    ),
    Case("stop where a file is a pipe", "$xc stop --name=one", prepare=instead(os.mkfifo), left=gone),
    Case(
        "stop where a file is a link to itself", "$xc stop --name=one", left=gone,
        prepare=instead(lambda path: os.symlink(path, path)),
    ),
    Case(
        "stop --all stops a damaged cluster too", "$xc stop --all", left=gone,
        says=("cluster 'one' stopped",),
        prepare=instead(lambda path: os.symlink("/dev/zero", path)), then="$xc stop --all",
    ),
    Case("stop --all and a name", "$xc stop --all --name=one", code=2, says=("--all or --name",)),
    Case(
        "a cluster of which nothing runs is a leftover", "$xc doctor --leftovers",
        prepare=instead(os.mkfifo), shows=("cluster    one: nothing of it runs",),
        then="$xc doctor --leftovers --remove",
    ),
    Case(
        "temporary files are leftovers", "$xc doctor --leftovers --remove", prepare=scratch, left=swept,
        shows=(".x.iso.4194303.tmp", "abc.part", ".tree.4194303.tmp"), then="$xc doctor --leftovers",
    ),
    Case("--remove alone", "$xc doctor --remove", code=2, says=("--remove goes with --leftovers",)),
]  # fmt: skip
