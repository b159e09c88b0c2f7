"""Trees of files for images and overlays: packages unpacked, trees laid over each other, tars written.

Nothing here needs root: owners are not kept on disk, they are 0 in what is written out.
"""

import gzip
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tasks.lib import proc
from tasks.lib.apt import Package
from tasks.lib.errors import UserError

# Never of use in a guest that is looked at from outside.
DOCS = (
    "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian",
    "usr/share/bash-completion", "usr/share/doc-base", "usr/share/bug", "usr/share/menu", "usr/share/pixmaps",
    "usr/share/applications", "usr/share/gcc",
)  # fmt: skip


def unpack(packages: Iterable[Package], into: Path, drop: Iterable[str] = ()) -> None:
    """Unpack packages into the directory `into`, less documentation and the globs in `drop`.

    Several at once: no two packages of Debian have the same file.
    """
    excludes = [f"--exclude=./{path.strip('/')}" for path in (*DOCS, *drop)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda package: _unpack(package, into, excludes), packages):
            pass
    # Several packages bring the same directory; whose mode it gets must not depend on who came last.
    for folder, _, _ in os.walk(into):
        os.chmod(folder, 0o755)


def _unpack(package: Package, into: Path, excludes: list[str]) -> None:
    source = proc.pipe(["dpkg-deb", "--fsys-tarfile", package.path], stdout=subprocess.PIPE)
    taker = subprocess.Popen(
        [proc.need("tar"), "-x", "-p", "--no-same-owner", "-C", str(into), *excludes],
        stdin=source.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert source.stdout
    source.stdout.close()  # or the packer waits for us when tar ends early
    said = taker.communicate()[1].decode(errors="replace")
    code, reason = proc.finish(source)
    if code or taker.returncode:
        raise UserError(f"cannot unpack {package.path}: {(said or reason).strip()}")


def lay_over(source: Path, target: Path) -> None:
    """Copy the tree `source` over the tree `target`: symlinks stay, modes become 755 or 644."""
    for folder, folders, names in os.walk(source):
        here = target / os.path.relpath(folder, source)
        _make_directory(here)
        for name in sorted(names) + [name for name in folders if os.path.islink(os.path.join(folder, name))]:
            _put(Path(folder, name), here / name)


def put_file(source: Path, target: Path, executable: bool) -> None:
    """Copy one file to `target` and make the directories above it."""
    for parent in reversed(target.parents):
        _make_directory(parent)
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if executable else 0o644)


def _make_directory(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        path.mkdir()
        path.chmod(0o755)


def _put(source: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        raise UserError(f"{source} is a file, but it would replace the directory {target.name}")
    target.unlink(missing_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    else:
        shutil.copyfile(source, target)
        target.chmod(0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644)


def write_tar(root: Path, out: Path, epoch: int) -> int:
    """Write the tree `root` as a tar; the same tree gives the same bytes. Returns the number of entries."""
    paths = sorted(root.rglob("*"), key=lambda path: path.relative_to(root).parts)
    with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in paths:
            tar.add(
                path, arcname=str(path.relative_to(root)), recursive=False, filter=lambda e: _plain(e, epoch)
            )
    return len(paths)


def _plain(entry: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = epoch
    return entry


def _check_member(member: tarfile.TarInfo, what: str) -> None:
    """Raise UserError for a path, or the target of a hard link, outside of the tree."""
    for name in (member.name, *([member.linkname] if member.islnk() else [])):
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{what}: the path {name} leads out of the tree")


def adopt_tar(source: Path, out: Path, what: str, epoch: int, *, allow_empty: bool = False) -> int:
    """Rewrite a tar made by somebody else as `write_tar` would: order kept, owner 0, one time.

    Any compression that tarfile knows is undone. Returns the number of entries; raises UserError when the tar
    is damaged, empty, or has a path that leads out of the tree.
    """
    count = 0
    try:
        with tarfile.open(source) as tar, tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as new:
            for member in tar:
                _check_member(member, what)
                new.addfile(_plain(member, epoch), tar.extractfile(member) if member.isreg() else None)
                count += member.name not in (".", "./")
            while tar.fileobj and tar.fileobj.read(1 << 20):
                pass  # the checksum of a compressed file stands at its end
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        if source.stat().st_size:
            raise UserError(f"{what}: damaged, or not a tar file: {error}") from error
    if not count and not allow_empty:
        raise UserError(
            f"{what}: the tar is empty", "is that meant? then put `allow_empty: true` into its ovl.yaml"
        )
    return count
