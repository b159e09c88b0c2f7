"""Builds against their bare limits.

    python -m benchmarks.build

* mkcdrom of five overlays when nothing changed, against doit with one empty task;
* the same after one file was edited, against the same;
* an ISO of 500 MB, against xorriso;
* the base image, against dpkg-deb -x of its packages, tar | mke2fs -d and qemu-img convert alone.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import ROOT, WORKSPACE, command, compare
from tasks.base import files
from tasks.formats import iso9660

FIVE = ("env", "timezone", "iptools", "network-topology", "etcd")
DOIT = str(ROOT / ".venv" / "bin" / "doit")

# As it is where nobody keeps Python from caching compiled modules.
CACHED = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(ROOT / ".venv" / "pycache")}


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on the disk of the workspace."""
    folder = Path(tempfile.mkdtemp(dir=WORKSPACE))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def overlays(folder: Path) -> None:
    """mkcdrom: nothing to do, and one edited file."""
    empty = folder / "dodo.py"
    empty.write_text(
        "def task_nothing():\n    return {'actions': [], 'uptodate': [True], 'targets': ['dodo.py']}\n"
    )
    one_task = command(DOIT, "--dir", str(folder), "-f", str(empty), env=CACHED)
    words = ("mkcdrom", "--name", "bench", *FIVE)
    compare(
        "mkcdrom of five, nothing changed", command(DOIT, *words, env=CACHED), one_task, rounds=9, bound=3.0
    )

    mine = folder / "edited"
    (mine / "default" / "etc").mkdir(parents=True)
    counter = iter(range(1000))

    def edit() -> None:
        (mine / "default" / "etc" / "edited").write_text(f"{next(counter)}\n")
        command(DOIT, *words, str(mine), env=CACHED)()

    compare("mkcdrom of six, one file edited", edit, one_task, rounds=9)


def iso(folder: Path) -> None:
    """500 MB in five files."""
    content = {}
    for number in range(5):
        path = folder / f"{number}.tar"
        path.write_bytes(os.urandom(100_000_000))
        content[path.name] = path
    out, other = folder / "ours.iso", folder / "xorriso.iso"
    words = ("xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-o", str(other), *map(str, content.values()))

    def limit() -> None:
        other.unlink(missing_ok=True)
        command(*words)()

    compare("ISO of 500 MB", lambda: iso9660.write(out, content, "bench", 0), limit, rounds=3, bound=1.5)


def image(folder: Path) -> None:
    """The base image from downloaded packages."""
    stamp = files.read_json(WORKSPACE / "image" / "base.json")
    names = {(package["name"], package["version"].replace(":", "%3a")) for package in stamp["packages"]}
    archives = next((WORKSPACE / "cache" / "apt").glob("*/cache/archives"))
    debs = [deb for deb in archives.glob("*.deb") if tuple(deb.name.split("_")[:2]) in names]

    def limit() -> None:
        root, raw = folder / "root", folder / "raw"
        shutil.rmtree(root, ignore_errors=True)
        raw.unlink(missing_ok=True)
        root.mkdir()
        for deb in debs:
            subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
        for docs in ("doc", "man", "locale", "i18n"):
            shutil.rmtree(root / "usr/share" / docs, ignore_errors=True)
        shutil.rmtree(root / "usr/lib/x86_64-linux-gnu/gconv", ignore_errors=True)
        subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-d", str(root), str(raw), "2G"], check=True)
        words = ["qemu-img", "convert", "-O", "qcow2", str(raw), str(folder / "limit.qcow2")]
        subprocess.run(words, check=True)

    def ours() -> None:
        (WORKSPACE / "image" / "base.qcow2").unlink()
        command(DOIT, "image:base")()

    compare("base image", ours, limit, bound=1.3)


def main() -> None:
    """Everything."""
    command("./xc", "image:base")()
    for part in (overlays, iso, image):
        with scratch() as folder:
            part(folder)
    command("./xc", "mkcdrom", "--name", "bench")()


if __name__ == "__main__":
    main()
