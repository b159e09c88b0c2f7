"""Rows: a bit that changed on the disk after something was built or fetched."""

import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.faults.case import Bench, Case

CHANGED = "changed on the disk"
AGAIN = "$xc mkcdrom a b 2>&1 | (! grep .)"  # nothing is left to do
ARTIFACT = "artifacts:\n- name: tool\n  dest: /opt/tool\n  sources: [{file: tool}]\n"
TEXT = "what the artifact says, at some length\n"


def flip(path: Path, *, quietly: bool = False) -> None:
    """Change one bit in the middle of a file; `quietly`: size and time stay as they were."""
    info = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    if quietly:
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def build(bench: Bench, *, artifact: bool = False) -> None:
    """Make the ISO once; with an artifact in the cache."""
    if artifact:
        bench.write("ovl/a/ovl.yaml", f"summary: first\n{ARTIFACT}")
        bench.write("ovl/a/tool", TEXT)
    done = bench.shell("$xc mkcdrom a b")
    assert done.returncode == 0, done.stderr


def damaged(path: str, *, quietly: bool = False, artifact: bool = False) -> Callable[[Bench], None]:
    """Build, then change a bit in each file that fits `path`, which is below the workspace."""

    def prepare(bench: Bench) -> None:
        build(bench, artifact=artifact)
        if artifact:  # so that the overlay is packed again, from what is in the cache
            bench.write("ovl/a/default/etc/a.conf", "another\n")
        files = list(bench.workspace.glob(path))
        assert files
        for file in files:
            flip(file, quietly=quietly)

    return prepare


def emptied(path: str) -> Callable[[Bench], None]:
    """Build, then leave each file that fits `path` empty, as a crash of the host may do."""

    def prepare(bench: Bench) -> None:
        build(bench)
        for file in bench.workspace.glob(path):
            file.write_bytes(b"")

    return prepare


def replaced(path: str, *, by: str) -> Callable[[Bench], None]:
    """Build, then put a "pipe", a "directory" or a "socket" in the place of a file of the workspace."""

    def prepare(bench: Bench) -> None:
        build(bench)
        file = bench.workspace / path
        file.unlink()
        if by == "pipe":
            os.mkfifo(file)
        elif by == "socket":
            os.mknod(file, stat.S_IFSOCK | 0o644)
        else:
            (file / "within").mkdir(parents=True)

    return prepare


def damaged_record(bench: Bench) -> None:
    """Build, then leave a text where the record was."""
    build(bench)
    (bench.workspace / "doit.db").write_text("no database\n" * 500)


def overlays(**texts: str) -> Callable[[Bench], None]:
    """Overlays with what is in their ovl.yaml."""

    def prepare(bench: Bench) -> None:
        for name, text in texts.items():
            bench.write(f"ovl/{name}/ovl.yaml", f"summary: an overlay\n{text}\n")

    return prepare


def touched(bench: Bench) -> None:
    """Build, then give everything another time, as a copy does."""
    build(bench)
    for file in bench.workspace.rglob("*"):
        if file.is_file() and not file.name.startswith("doit.db"):
            os.utime(file, (1, 1))


def is_right(bench: Bench) -> None:
    """The tar of the overlay `a` has its files as the definition has them."""
    with tarfile.open(bench.workspace / "ovl/a.tar") as tar:
        for name in tar.getnames():
            source = bench.root / ("ovl/a/tool" if name == "opt/tool" else f"ovl/a/default/{name}")
            if source.is_file():
                content = tar.extractfile(name)
                assert content and content.read() == source.read_bytes(), name


def without_source(bench: Bench) -> None:
    """An artifact is damaged in the cache, and cannot be had again."""
    damaged("cache/sha256/*", artifact=True)(bench)
    (bench.root / "ovl/a/tool").unlink()


CASES = [
    Case(
        "a bit of an overlay's tar", "$xc mkcdrom a b", prepare=damaged("ovl/a.tar"), left=is_right,
        says=("ovl/a.tar " + CHANGED, "ovl:a makes it again"), then=AGAIN,
    ),
    Case(
        "a bit of the ISO", "$xc mkcdrom a b", prepare=damaged("iso/xcluster.iso"),
        says=("xcluster.iso " + CHANGED,), then=AGAIN,
    ),
    Case("an empty tar", "$xc mkcdrom a b", prepare=emptied("ovl/*.tar"), left=is_right, says=(CHANGED,)),
    Case(
        "an empty stamp", "$xc mkcdrom a b", prepare=emptied("*/*.json"), left=is_right, says=("is damaged",),
    ),
    Case("an empty seal", "$xc mkcdrom a b", prepare=emptied("seals/*.json"), left=is_right),
    Case(
        "only the times are others", "$xc mkcdrom a b", prepare=touched, never=(CHANGED, "Pack the overlay"),
    ),
    Case(
        "a bit of an artifact in the cache", "$xc mkcdrom a b", left=is_right,
        prepare=damaged("cache/sha256/*", artifact=True),
        says=("cache/sha256/", "artifact:tool makes it again"),
    ),
    Case(
        "a bit of an artifact in the cache, and nothing tells of it", "$xc mkcdrom a b", left=is_right,
        prepare=damaged("cache/sha256/*", artifact=True, quietly=True),
        says=("artifact 'tool' changed on the disk", "fetched again"), then=AGAIN,
    ),
    Case(
        "an artifact that went from the cache", "rm workspace/cache/sha256/*; $xc mkcdrom a b", left=is_right,
        prepare=damaged("ovl/a.tar", artifact=True), says=("is not there any more; artifact:tool makes",),
    ),
    Case(
        "an artifact that changed and whose source has gone", "$xc mkcdrom a b", code=1,
        prepare=without_source,
        says=("artifact 'tool' could not be had",),
    ),
    *(
        Case(
            f"a {kind} in the place of {path}", "$xc mkcdrom a b", left=is_right,
            prepare=replaced(path, by=kind), says=(f"{path} is a {kind}", "makes it again"),
            then=AGAIN, seconds=20,
        )
        for path in ("ovl/a.tar", "ovl/a.json", "iso/xcluster.iso", "iso/xcluster.json")
        for kind in ("pipe", "directory")
    ),
    Case(
        "a socket in the place of a stamp", "$xc mkcdrom a b", prepare=replaced("ovl/a.json", by="socket"),
        says=("not a file; ovl:a makes it again",), left=is_right, then=AGAIN, seconds=20,
    ),
    *(
        Case(
            f"a {kind} in the place of the record", "$xc mkcdrom a b", code=1, seconds=20,
            prepare=replaced("doit.db", by=kind),
            says=("doit.db, the record", f"it is a {kind}", "remove it"),
            then="rm -r workspace/doit.db; $xc mkcdrom a b",
        )
        for kind in ("pipe", "directory")
    ),
    Case(
        "the record is no database", "$xc mkcdrom a b", code=1, prepare=damaged_record,
        says=("doit.db, the record", "file is not a database", "remove it"),
        then="rm workspace/doit.db; $xc mkcdrom a b",
    ),
    Case(
        "an overlay that is its own alias", "$xc mkcdrom tt", code=2, prepare=overlays(tt="alias: tt"),
        says=("ovl/tt/ovl.yaml", "'tt' needs itself"),
    ),
    Case(
        "an overlay that needs itself", "$xc mkcdrom tt", code=2, prepare=overlays(tt="needs: [tt]"),
        says=("ovl/tt/ovl.yaml", "'tt' needs itself"),
    ),
    Case(
        "two aliases of each other", "$xc mkcdrom p", code=2, prepare=overlays(p="alias: q", q="alias: p"),
        says=("'p' needs itself", "'q' needs itself"),
    ),
    Case(
        "an alias that is needed by what it stands for", "$xc ovl:q", code=2,
        prepare=overlays(p="alias: q", q="needs: [p]"), says=("'p' needs itself", "'q' needs itself"),
    ),
    Case(
        "an alias of an alias", "$xc mkcdrom q", prepare=overlays(p="alias: a", q="alias: p"), left=is_right,
        says=("Pack the overlay",),
    ),
]  # fmt: skip
