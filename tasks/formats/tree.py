"""Trees of files for images and overlays: unpacks packages, lays trees over each other, writes tars.

Nothing here needs root: the trees on disk keep no owners, and in a tar every owner is 0.
"""

import gzip
import io
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tasks.base import environment, proc
from tasks.base.errors import UserError
from tasks.formats import capabilities

# Of no use in a guest: people read these files on the host.
DOCS = (
    "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian",
    "usr/share/bash-completion", "usr/share/doc-base", "usr/share/bug", "usr/share/menu", "usr/share/pixmaps",
    "usr/share/applications", "usr/share/gcc",
)  # fmt: skip


def unpack(debs: Iterable[str | Path], into: Path, drop: Iterable[str] = ()) -> None:
    """Unpack .deb files into the directory `into`, without documentation and without the globs in `drop`.

    Several are unpacked at once, which is safe because no two Debian packages have the same file.
    """
    excludes = [f"--exclude=./{path.strip('/')}" for path in (*DOCS, *drop)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda deb: _unpack(deb, into, excludes), debs):
            pass
    # Several packages bring the same directory; whose mode it gets must not depend on who came last.
    for folder, _, _ in os.walk(into):
        os.chmod(folder, 0o755)


def _unpack(deb: str | Path, into: Path, excludes: list[str]) -> None:
    source = proc.pipe(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    taker = subprocess.Popen(
        [proc.need("tar"), "-x", "-p", "--no-same-owner", "-C", str(into), *excludes],
        stdin=source.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=environment.of_programs(),
    )  # fmt: skip
    assert source.stdout
    source.stdout.close()  # otherwise dpkg-deb would not notice that tar ended early
    complaint = taker.communicate()[1].decode(errors="replace")
    code, reason = proc.finish(source)
    if code or taker.returncode:
        raise UserError(f"cannot unpack {deb}: {(complaint or reason).strip()}")


def lay_over(source: Path, target: Path) -> dict[str, bytes]:
    """Copy the tree `source` over the tree `target`: links stay, modes become 755 or 644, setuid is kept.

    Returns the capabilities of files by path, because only root could set them in the copy. Raises UserError
    for anything that is neither a file, a directory nor a symbolic link.
    """
    linked: dict[tuple[int, int], Path] = {}
    capable: dict[str, bytes] = {}
    for folder, folders, names in os.walk(source):
        here = target / os.path.relpath(folder, source)
        _make_directory(here, os.lstat(folder).st_mode)
        for name in sorted(names) + [name for name in folders if os.path.islink(os.path.join(folder, name))]:
            path = Path(folder, name)
            _put(path, here / name, linked)
            value = capabilities.of_file(path)
            if value:
                capable[os.path.relpath(path, source)] = value
    return capable


def unmerge(root: Path) -> None:
    """Link a C library in usr/lib into lib too, so that a guest finds it before its own, which is in lib.

    Debian moved the library with trixie: programs of that suite and of newer ones would otherwise load the
    older library of the base image.
    """
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    if not (libraries / "libc.so.6").is_file():
        return
    beside = root / "lib" / "x86_64-linux-gnu"
    beside.mkdir(parents=True, exist_ok=True)
    for folder in (beside.parent, beside):
        folder.chmod(0o755)
    for path in sorted(libraries.glob("*.so*")):
        if path.is_file() and not (beside / path.name).exists():
            os.link(path.resolve(), beside / path.name)


def put_file(source: Path, target: Path, executable: bool) -> None:
    """Copy one file to `target` and make the directories above it."""
    _make_room(target)
    shutil.copyfile(source, target)
    target.chmod(0o755 if executable else 0o644)


def link_file(first: Path, target: Path) -> None:
    """A second name for a file of the tree."""
    _make_room(target)
    os.link(first, target)


def _make_room(target: Path) -> None:
    """Make the directories above `target`, and remove what is at `target` itself."""
    for parent in reversed(target.parents):
        _make_directory(parent)
    target.unlink(missing_ok=True)


def _make_directory(path: Path, mode: int = 0) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        path.mkdir()
        path.chmod(0o755)
    if mode & stat.S_ISVTX:  # writable for everybody, as /tmp is
        path.chmod(0o1777)


def _put(source: Path, target: Path, linked: dict[tuple[int, int], Path]) -> None:
    """Copy one file or link; a file that has several names in the tree stays one file."""
    if target.is_dir() and not target.is_symlink():
        raise UserError(f"{source} is a file, but it would replace the directory {target.name}")
    target.unlink(missing_ok=True)
    info = source.lstat()
    if stat.S_ISLNK(info.st_mode):
        target.symlink_to(os.readlink(source))
    elif not stat.S_ISREG(info.st_mode):
        raise UserError(
            f"{source} is neither a file, a directory nor a symbolic link",
            "make pipes and devices in the guest, by a script in etc/init.d",
        )
    elif (info.st_dev, info.st_ino) in linked:
        os.link(linked[info.st_dev, info.st_ino], target)
    else:
        shutil.copyfile(source, target)
        special = info.st_mode & (stat.S_ISUID | stat.S_ISGID)
        target.chmod((0o755 if info.st_mode & stat.S_IXUSR else 0o644) | special)
        if info.st_nlink > 1:
            linked[info.st_dev, info.st_ino] = target


def put_files(content: Mapping[str, bytes], root: Path) -> None:
    """Write programs and scripts into a tree."""
    for path, data in content.items():
        for parent in reversed((root / path).parents):
            _make_directory(parent)
        (root / path).write_bytes(data)
        (root / path).chmod(0o755)


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


def _add(tar: tarfile.TarFile, path: str, data: bytes, epoch: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.mtime = len(data), 0o755, epoch
    tar.addfile(entry, io.BytesIO(data))


def _check_member(member: tarfile.TarInfo, what: str) -> None:
    """Raise UserError for a path, or the target of a hard link, outside of the tree."""
    for name in (member.name, *([member.linkname] if member.islnk() else [])):
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{what}: the path {name} leads out of the tree")


def adopt_tar(
    source: Path, out: Path, what: str, epoch: int, *, name: str = "tar", allow_empty: bool = False
) -> int:
    """Rewrite a tar that somebody else made with owner 0 and one time; the order of its entries is kept.

    Any compression that tarfile knows is undone. File capabilities become a script in the new tar, whose name
    contains `name`. Returns the number of entries. Raises UserError when the tar is damaged or empty, or has
    a path that leads out of the tree.
    """
    count = 0
    capable: dict[str, bytes] = {}
    try:
        with tarfile.open(source) as tar, tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as new:
            for member in tar:
                _check_member(member, what)
                new.addfile(_plain(member, epoch), tar.extractfile(member) if member.isreg() else None)
                count += member.name not in (".", "./")
                value = capabilities.of_member(member)
                capable |= {member.name: value} if value else {}
            while tar.fileobj and tar.fileobj.read(1 << 20):
                pass  # the checksum of a compressed file stands at its end
            for path, data in capabilities.carriers(capable, name).items():
                _add(new, path, data, epoch)
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        if source.stat().st_size:
            raise UserError(f"{what}: damaged, or not a tar file: {error}") from error
    if not count and not allow_empty:
        raise UserError(
            f"{what}: the tar is empty", "if that is intended, put `allow_empty: true` into its ovl.yaml"
        )
    return count
