"""Rows: a bit that changed on the disk in what nodes are started from."""

from collections.abc import Callable
from pathlib import Path

from tests.boot.conftest import WORKSPACE
from tests.faults.case import Bench, Case
from tests.faults.quick_content import flip

START = "$xc start --nvm=1 --nrouters=0 --net=userspace"
SAVED = "t-fault-saved"
IMAGE = WORKSPACE / "image" / "base.qcow2"


def running(bench: Bench) -> None:
    """A cluster of one node."""
    done = bench.shell(START, 300)
    assert done.returncode == 0, done.stderr


def still_runs(bench: Bench) -> None:
    """The node answers: what was refused has not harmed it."""
    done = bench.shell("$xc rsh 1 hostname")
    assert done.stdout == "vm-001\n", done.stderr


def damaged(pattern: str) -> Callable[[Bench], None]:
    """A cluster that runs, and then a bit changes in the files that fit the pattern in the workspace."""

    def prepare(bench: Bench) -> None:
        running(bench)
        paths = [path for path in WORKSPACE.glob(pattern) if path.stat().st_size]
        assert paths
        for path in paths:
            flip(path)

    return prepare


def replaced(path: Path) -> Callable[[Bench], None]:
    """A cluster that runs; then the file is a copy of itself with one bit changed, which no node has."""

    def prepare(bench: Bench) -> None:
        running(bench)
        copy = path.with_name(f"{path.name}.copy")
        copy.write_bytes(path.read_bytes())
        flip(copy)
        copy.replace(path)

    return prepare


def with_checkpoint(bench: Bench) -> None:
    """A cluster that runs, and a checkpoint of it."""
    running(bench)
    done = bench.shell(f"$xc checkpoint rm {SAVED}; $xc checkpoint save {SAVED}", 300)
    assert done.returncode == 0, done.stderr


def saved(bench: Bench) -> None:
    """A checkpoint with a file that changed, and its cluster running."""
    with_checkpoint(bench)
    flip(WORKSPACE / "checkpoint" / SAVED / "vm-001.ram")


def with_changed_image(bench: Bench) -> None:
    """A checkpoint, whose cluster runs, and a disk image that is not the one that it needs."""
    with_checkpoint(bench)
    replaced(IMAGE)(bench)


def without_record(bench: Bench) -> None:
    """A checkpoint whose record is damaged."""
    with_checkpoint(bench)
    (WORKSPACE / "checkpoint" / SAVED / "checkpoint.json").write_text("{")


def with_a_killed_saver(bench: Bench) -> None:
    """A save that was killed while it turned states into their last form."""
    running(bench)
    save = f"$xc checkpoint rm {SAVED}; setsid $xc checkpoint save {SAVED} & p=$!"
    scratch = WORKSPACE / "run/t-fault/s-001"
    bench.shell(f"{save}; until [ -d {scratch} ]; do sleep .02; done; kill -9 $p")
    assert scratch.is_dir()


def with_a_key(change: str) -> Callable[[Bench], None]:
    """A cluster that runs, and its key is changed by a command that has the key's name as $key."""

    def prepare(bench: Bench) -> None:
        running(bench)
        key = WORKSPACE / "keys/id_ed25519"
        bench.shell(f"cp -p {key} $outside/key")
        bench.env["key"] = str(key)
        bench.stack.callback(bench.shell, f"rm -rf {key}; cp -p $outside/key {key}")
        bench.shell(change)

    return prepare


def removed(bench: Bench) -> None:
    """The checkpoint is of no use to anybody, and what ran still does."""
    still_runs(bench)
    bench.shell(f"$xc checkpoint rm {SAVED}")


CASES = [
    Case(
        "a bit of a golden snapshot's state", START, seconds=300, left=still_runs,
        prepare=damaged("golden/debian-base-128M-2cpu-2nic/state"),
        says=("changed on the disk; it is made again",),
    ),
    Case(
        "a bit of a golden snapshot with overlays", START, seconds=300, left=still_runs,
        prepare=damaged("golden/*@t-fault/state"), says=("changed on the disk; it is made again",),
    ),
    Case(
        "a bit of the ISO of a cluster", START, seconds=300, left=still_runs,
        prepare=damaged("iso/t-fault.iso"), says=("t-fault.iso changed on the disk; mkcdrom makes it again",),
    ),
    Case(
        "a bit of the disk image, then scaleout", "$xc scaleout 2", left=still_runs, seconds=300,
        prepare=replaced(IMAGE), says=("base.qcow2 changed on the disk; image:base makes it again", "added"),
    ),
    Case(
        "a bit of the kernel's modules, then scaleout", "$xc scaleout 2", left=still_runs, seconds=300,
        prepare=replaced(WORKSPACE / "kernel/debian/modules.img"),
        says=("modules.img changed on the disk; kernel:debian makes it again", "added"),
    ),
    Case(
        "a bit of the disk image, then a restore", f"$xc checkpoint restore {SAVED}", 1, left=removed,
        prepare=with_changed_image, then="$xc image:base", seconds=300,
        says=("base.qcow2 changed on the disk: `xc image:base` builds it",),
    ),
    Case(
        "a checkpoint without a record is not overwritten", f"$xc checkpoint save {SAVED}", 1, seconds=300,
        prepare=without_record, left=still_runs,
        says=("cannot be used, its record", f"xc checkpoint rm {SAVED}"),
        then=f"$xc checkpoint list 2>&1 | grep {SAVED} && $xc checkpoint rm {SAVED}",
    ),
    Case(
        "a save after one that was killed", f"$xc checkpoint save {SAVED}", seconds=300, left=still_runs,
        prepare=with_a_killed_saver, then=f"$xc checkpoint rm {SAVED}",
    ),
    Case(
        "a key that is gone while a cluster runs", "$xc rsh 1 true", 1, says=("id_ed25519", "is not there"),
        prepare=with_a_key("rm $key"), left=lambda bench: bench.shell("! test -e $key").check_returncode(),
    ),
    Case(
        "a key that changed on the disk", f"touch -d yesterday $key; {START}", 1, seconds=300,
        prepare=with_a_key("sed -i 's/b/c/g' $key"),
        says=("id_ed25519", "changed on the disk", "start clusters again"),
    ),
    Case(
        "a bit of a checkpoint", f"$xc checkpoint restore {SAVED}", 1, prepare=saved, left=removed,
        seconds=300,
        says=("is not whole, vm-001.ram changed on the disk", f"xc checkpoint rm {SAVED}"),
    ),
]  # fmt: skip
