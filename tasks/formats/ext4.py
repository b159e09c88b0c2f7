"""A tree ──> an ext4 file system in a sparse file, without root; the same tree gives the same bytes.

mke2fs copies the tree but keeps the user's ids and the moment of the copy (inode change times); debugfs then
sets both for every inode. Works with e2fsprogs 1.47.0, which knows neither SOURCE_DATE_EPOCH nor tar input.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.formats import inside

UUID = "6b1b6c3e-0f5c-4b5e-9d53-786366c7573a"
# The features are named here because the host's mke2fs.conf differs between releases. There are no checksums,
# because debugfs changes every inode afterwards, and because a guest's disk lives for one run only.
FEATURES = (
    "none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,"
    "sparse_super,large_file,huge_file,dir_nlink,extra_isize"
)
# Nothing is left for the guest's kernel to initialise in the background.
EXTENDED = f"hash_seed={UUID},lazy_itable_init=0,lazy_journal_init=0,nodiscard,no_copy_xattrs,root_owner=0:0"
FIRST_INODE = 11
ROOT_INODE = 2

Devices = Mapping[str, tuple[str, int, int, str]]
Owners = Mapping[str, tuple[int, int]]


def make(
    tree: Path,
    out: Path,
    size: str,
    epoch: int,
    *,
    devices: Devices | None = None,
    owners: Owners | None = None,
) -> None:
    """Write the tree as an ext4 of `size` (such as 2G) to the sparse file `out`.

    The keys of `devices` and `owners` are paths in it. The programs get names without a directory: they take
    what follows a `?` for options, and a configuration with a `:` for two.
    """
    config = out.with_name(f".{out.name}.mke2fs.conf")
    script = out.with_name(f".{out.name}.debugfs")
    env = {
        "E2FSPROGS_FAKE_TIME": str(epoch),
        "MKE2FS_CONFIG": config.name,
        "DEBUGFS_PAGER": "cat",
        "TZ": "UTC",
    }
    try:
        config.write_text("[fs_types]\n ext4 = {\n }\n")
        script.write_text(_script(tree, epoch, devices or {}, owners or {}))
        proc.run([
            "mke2fs", "-q", "-F", "-O", FEATURES, "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384",
            "-m", "0", "-J", "size=4", "-U", UUID, "-L", "xcluster",
            "-E", EXTENDED,
            "-d", tree, out.name, size,
        ], env=env, cwd=out.parent)  # fmt: skip
        _check(proc.run(["debugfs", "-w", "-f", script.name, out.name], env=env, cwd=out.parent), out)
    finally:
        config.unlink(missing_ok=True)
        script.unlink(missing_ok=True)


def _script(tree: Path, epoch: int, devices: Devices, owners: Owners) -> str:
    """debugfs commands: device nodes, then owner and times of every inode, then owners by path."""
    lines = []
    for path, (kind, major, minor, mode) in sorted(devices.items()):
        where, name = os.path.split(_place(tree, path))
        bits = (stat.S_IFCHR if kind == "c" else stat.S_IFBLK) | int(mode, 8)
        place, name = _word(f"/{where}"), _word(name)
        lines += [f"cd {place}", f"mknod {name} {kind} {major} {minor}", f"sif {name} mode 0{bits:o}"]
    last = FIRST_INODE + _inodes(tree) + len(devices)
    for inode in (ROOT_INODE, *range(FIRST_INODE, last + 1)):
        lines += [f"sif <{inode}> uid 0", f"sif <{inode}> gid 0"]
        for field in ("atime", "ctime", "mtime", "crtime"):
            lines += [f"sif <{inode}> {field} @{epoch}", f"sif <{inode}> {field}_extra 0"]
    for path, (uid, gid) in sorted(owners.items()):
        place = _word(f"/{_place(tree, path)}")
        lines += [f"sif {place} uid {uid}", f"sif {place} gid {gid}"]
    return "\n".join(lines) + "\n"


def _place(tree: Path, path: str) -> str:
    """A path without links on the way, as debugfs follows none."""
    folder, name = os.path.split(path.rstrip("/"))
    try:
        with inside.Root(tree) as root:
            return os.path.join(root.real(folder), name)
    except (FileNotFoundError, NotADirectoryError):
        return path.strip("/")  # debugfs says that it is not there


def _word(path: str) -> str:
    """A path as one word of debugfs, which would take another line for a command that writes on the host."""
    if any(sign < " " for sign in path):
        raise UserError(f"{path!r} cannot be in an image: a device or an owner needs a path without newlines")
    doubled = path.replace('"', '""')
    return f'"{doubled}"'


def _inodes(tree: Path) -> int:
    """How many inodes the tree takes; hard links share one."""
    return len({path.lstat().st_ino for path in tree.rglob("*")})


def _check(output: str, out: Path) -> None:
    odd = [
        line
        for line in output.splitlines()
        if not line.startswith(("debugfs", "Allocated inode:")) and line.strip()
    ]
    if odd:
        raise UserError(f"debugfs could not finish {out.name}: {odd[0]}")


def to_qcow2(raw: Path, out: Path) -> None:
    """Convert a raw image; holes stay holes."""
    with files.explained(out):
        proc.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, out])
