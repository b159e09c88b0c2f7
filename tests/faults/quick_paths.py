"""Rows: where the workspace is, and what it is called."""

import os

from tests.faults.case import Bench, Case

SIGNS = "w s%\"',$x`\\:=#?*[];&~\xe9|<>(){}!^@+-"
ALL = "$xc ovl:a && $xc mkcdrom && $xc status && $xc stop && $xc list --quiet"


def places(bench: Bench) -> None:
    """Things that are no directories."""
    (bench.root / "file").write_text("mine\n")
    (bench.root / "dangling").symlink_to("/nowhere/x")
    (bench.root / "loop").symlink_to("loop")
    os.mkfifo(bench.root / "fifo")


def nothing_new(bench: Bench) -> None:
    """A verb that only looks made no directory, and what was there is as it was."""
    assert not (bench.root / "gone").exists()
    assert not (bench.root / "file").exists() or (bench.root / "file").read_text() == "mine\n"


def no_place(name: str, path: str) -> Case:
    line = (
        f"export XCLUSTER_WORKSPACE={path}; $xc ovl:a; a=$?; $xc status; b=$?; $xc stop; exit $((a + b + $?))"
    )
    says = ("is no directory", "set XCLUSTER_WORKSPACE to a directory")
    return Case(f"the workspace is {name}", line, code=3, says=says, prepare=places, left=nothing_new)


def sign(name: str, shell: str, shown: str) -> Case:
    line = f"XCLUSTER_WORKSPACE=$root/{shell} $xc ovl:a"
    return Case(
        f"the workspace's path has {name}", line, code=2, says=(shown, "builds and clusters cannot work")
    )


LOOKING = ("status --all", "status", "stop", "dns status", "registry status", "checkpoint list", "logs 1")
CASES = [
    no_place("a file", "file"),
    no_place("a device", "/dev/null"),
    no_place("a dangling link", "dangling"),
    no_place("a link to itself", "loop"),
    no_place("a FIFO", "fifo"),
    sign("a newline", "$'a\\nb'", "'\\n'"),
    Case(
        "doctor tells of a workspace that builds refuse", "XCLUSTER_WORKSPACE=$'a\\nb' $xc doctor", 1,
        shows=("missing   workspace            builds and clusters cannot work in a directory with '\\n'",),
    ),
    sign("a tab", "$'a\\tb'", "'\\t'"),
    sign("an escape sequence", "$'a\\e[1mb'", "'\\x1b'"),
    sign("a byte that is not UTF-8", "$'a\\xe9b'", "'\\udce9'"),
    sign("a variable that ssh would put in", "'a${HOME}b'", "'${'"),
    *(
        Case(
            f"a mistyped workspace: {verb}",
            f"XCLUSTER_WORKSPACE=gone $xc {verb}; [ $? -lt 2 ]",
            prepare=places, left=nothing_new,
        )
        for verb in LOOKING
    ),
    *(
        Case(f"the workspace's path has {name}", f"export XCLUSTER_WORKSPACE={path}; {ALL}")
        for name, path in (
            ("every sign that is allowed", "'" + SIGNS.replace("'", "'\\''") + "'"),
            ("a leading dash", "-w"),
            ("250 letters", "x" * 250),
        )
    ),
    Case(
        "the workspace is on a read-only file system",
        "unshare -m sh -c 'mount -t tmpfs -o ro none home && export XCLUSTER_WORKSPACE=home && "
        "$xc status && $xc status --all && $xc dns status && $xc ovl:a'",
        code=1, says=("is not running", "set XCLUSTER_WORKSPACE to a directory that you may write to"),
        prepare=lambda bench: (bench.root / "home").mkdir(),
    ),
]  # fmt: skip
