"""Upstream's words for packed overlays: cache, collect_tar, cat_tar; and lists of files for an initramfs."""

import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.base.errors import nearest
from tasks.cli import table
from tasks.cli.upstream import builds, contract
from tasks.cli.upstream.contract import Does, Environ, Refused, values

if TYPE_CHECKING:
    from tarfile import TarFile


def cache(environ: Environ, args: Sequence[str]) -> None:
    """Pack overlays; or list (--list) or remove (--clear) those that are packed."""
    folder = values(environ)["__cached"]
    packed = sorted(name for name in _files(folder) if name.endswith(".tar"))
    chosen = [name for name in packed if not args or re.split(r"[@.]", name)[0] in args]
    if environ.get("__list"):
        sys.stdout.write("".join(f"{os.path.join(folder, name)}\n" for name in chosen))
    elif environ.get("__clear"):
        for name in chosen:
            os.unlink(os.path.join(folder, name))
    else:
        setup = environ.get("SETUP", "")
        if "," in setup:
            raise Refused(f"SETUP with more than one item [{setup}]")
        if not args:
            raise Refused("No ovls")
        try:
            names = [_key(environ, name, setup) for name in args]
        except Refused as error:
            near = nearest(args[0], table.VERBS["cache"].actions)
            raise Refused(f"{error}; did you mean `xc cache {near[0]}`?" if near else str(error)) from None
        builds.become([f"ovl:{name}" for name in names], environ)


def _key(environ: Environ, name: str, setup: str) -> str:
    """The task that packs an overlay: a variant is one of its own, where the overlay has it."""
    own = contract.overlay(environ, name)
    has = setup and (os.path.isfile(f"{own}/tar") or os.path.isdir(f"{own}/{setup}"))
    return f"{name}@{setup}" if has else name


def _files(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def collect_tar(environ: Environ, args: Sequence[str]) -> None:
    """Pack overlays as mkcdrom does, and write the tars to --dest: NN<name>.tar, in order."""
    dest = environ.get("__dest")
    if not dest:
        raise Refused("No --dest")
    os.makedirs(dest, exist_ok=True)
    for name in _collected(environ, args, Path(dest)):
        sys.stdout.write(f"{name}\n")


def cat_tar(environ: Environ, args: Sequence[str]) -> None:
    """Pack overlays as mkcdrom does, and write all of them as one tar to stdout."""
    import tarfile

    with tempfile.TemporaryDirectory() as folder:
        names = _collected(environ, args, Path(folder))
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.GNU_FORMAT) as out:
            for name in names:
                _append(out, os.path.join(folder, name))


def _append(out: "TarFile", path: str) -> None:
    import tarfile

    with tarfile.open(path) as tar:
        for member in tar:
            out.addfile(member, tar.extractfile(member) if member.isreg() else None)


def _collected(environ: Environ, args: Sequence[str], into: Path) -> list[str]:
    """The tars of overlays, of their needs and of XOVLS, in the order in which they are unpacked.

    They come from an ISO of a cluster that is never started: so they are what mkcdrom packs.
    """
    from tasks.formats import iso9660

    if not args:
        raise Refused("No ovls")
    for word in args:
        if "/" not in word and not os.path.exists(word):
            contract.overlay(environ, word)  # what mkcdrom says of it would tell of another word's usage
    cluster = f"collect-{os.getpid()}"
    iso = os.path.join(values(environ)["XCLUSTER_WORKSPACE"], "iso", cluster)
    try:
        code, _ = builds.answer(["mkcdrom", f"--name={cluster}", "--", *args], environ)
        if code:
            raise Refused(f"not packed: {' '.join(args)}")
        return iso9660.extract(Path(f"{iso}.iso"), into)
    finally:
        for ending in (".iso", ".json"):
            Path(iso + ending).unlink(missing_ok=True)


def cpio_list(environ: Environ, args: Sequence[str]) -> None:
    """Print a list of what is in a directory, for the kernel's gen_init_cpio."""
    if not args:
        raise Refused("No dir")
    for word in args:
        if not os.path.isdir(word):
            raise Refused(f"Not a directory [{word}]")
        sys.stdout.write("".join(f"{line}\n" for line in _listed(Path(word).absolute())))


def _listed(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        name, info = f"/{path.relative_to(root)}", path.lstat()
        if re.search(r"\s", str(path)):
            raise Refused(f"gen_init_cpio takes no name with a space [{path}]")
        kind = stat.S_IFMT(info.st_mode)
        mode = f"{info.st_mode & 0o777:04o}"
        if kind == stat.S_IFDIR:
            yield f"dir {name} 0755 0 0"
        elif kind == stat.S_IFLNK:
            yield f"slink {name} {os.readlink(path)} 0777 0 0"
        elif kind == stat.S_IFREG:
            yield f"file {name} {path} {'0755' if info.st_mode & 0o100 else '0544'} 0 0"
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            device = f"{os.major(info.st_rdev)} {os.minor(info.st_rdev)}"
            yield f"nod {name} {mode} 0 0 {'c' if kind == stat.S_IFCHR else 'b'} {device}"
        else:
            yield f"{'pipe' if kind == stat.S_IFIFO else 'sock'} {name} {mode} 0 0"


WORDS: Mapping[str, Does] = {
    "cache": cache,
    "collect_tar": collect_tar,
    "cat_tar": cat_tar,
    "cpio_list": cpio_list,
    "emit_cpio_list": cpio_list,
}
