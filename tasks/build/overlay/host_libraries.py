"""An overlay with programs of the host ──adapt──> the same for a guest whose C library is another one.

Where both are the same, nothing is changed: programs use the guest's libraries, and what it lacks is in the
overlay. Else programs get the host's loader and all their libraries, in a directory of their own. The loader
is changed to look there first; so it works for libraries that are opened later too, for `strip`, for programs
that go by their own name, and nothing has to be wrapped.
"""

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from tasks.base import files
from tasks.base.errors import UserError
from tasks.formats import elf, inside, tree

LOADER = "/lib64/ld-xc-host.so.2"
# The first place where a loader looks -> the one where ours looks, of the same length. Debian's, and others'.
PLACES = {b"/lib/x86_64-linux-gnu/": b"/lib/x86_64-linux-xch/", b"/lib64/": b"/libxc/"}
CACHE = (b"/etc/ld.so.cache", b"/etc/ld.xc.cache")  # the guest's cache names the guest's libraries
FOLDERS = ("lib", "usr/lib", "lib64", "usr/lib64", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
# Opened by the C library when they are needed, so that no program names them.
LATE = ("libgcc_s.so.1", "libresolv.so.2", "libnss_files.so.2", "libnss_dns.so.2")


def write_list(root: Path, out: Path) -> None:
    """Write the list of the libraries in the tree of an image: what cplib need not bring along."""
    names = sorted({path.name for path in root.rglob("lib*.so*") if not path.is_dir()})
    with inside.Root(root) as place:
        libraries = [name for folder in FOLDERS if place.is_file(name := f"{folder}/libc.so.6")]
        version = elf.glibc(root / place.real(libraries[0])) if libraries else ""
    with files.atomic(out) as temp:
        temp.write_text("".join([f"# glibc {version}\n", *(f"/{name}\n" for name in names)]))


def guest_glibc(listed: Path) -> str:
    """The version of the guest's glibc, from the list of its libraries; "" when it is not known."""
    lines = listed.read_text().splitlines() if listed.is_file() else []
    return lines[0].removeprefix("# glibc ") if lines and lines[0].startswith("# glibc ") else ""


def host_glibc() -> str:
    """The version of the host's glibc; "" where there is another C library."""
    paths = elf.libraries(Path("/bin/sh").resolve())
    return next((elf.glibc(Path(path)) for path in paths if os.path.basename(path) == "libc.so.6"), "")


def is_foreign(listed: Path) -> bool:
    """Whether programs of the host cannot count on the guest's libraries."""
    guest, host = guest_glibc(listed), host_glibc()
    return bool(guest and host and guest != host)


def adapt(root: Path, listed: Path) -> list[str]:
    """Make the programs in the tree run in a guest of another glibc; returns their names.

    `listed` is the list of the guest's libraries. Raises UserError for a loader that we cannot change.
    """
    dynamic = [path for path in files.tree_files(root) if elf.is_dynamic(path)]
    programs = [path for path in dynamic if elf.interpreter(path) == elf.LOADER]
    if not programs:
        return []
    loader, place = _loader()
    private = place.decode().strip("/")
    needed = _needed(root, dynamic)
    with inside.Root(root) as placed:
        placed.directory(private)
        for path in needed:
            tree.put_file(path, placed, f"{private}/{path.name}", executable=True)
        _clear(placed, {path.name for path in needed}, set(listed.read_text().splitlines()), private)
    for path in programs:
        mode = path.stat().st_mode
        path.chmod(mode | 0o200)
        elf.set_interpreter(path, LOADER)
        path.chmod(mode)
    tree.put_files({LOADER: loader}, root)
    return [str(path.relative_to(root)) for path in programs]


def _loader() -> tuple[bytes, bytes]:
    """The host's loader, changed; and the directory in which it looks first."""
    content = Path(elf.LOADER).read_bytes()
    for old, new in PLACES.items():
        if b"\0" + old + b"\0" in content and CACHE[0] in content:
            # /usr/lib/x86_64-linux-gnu/ ends the same way, and stays: a NUL is before the one that is meant.
            return content.replace(b"\0" + old, b"\0" + new).replace(*CACHE), new
    raise UserError(
        f"the host's loader {elf.LOADER} looks for libraries in places that are not known here",
        "build the overlay from Debian packages (`packages:` in ovl.yaml), not from programs of the host",
    )


def _needed(root: Path, programs: Sequence[Path]) -> list[Path]:
    """All libraries of these files, as the host would load them; the tree's own come first."""
    folders = [root / folder for folder in FOLDERS]
    folders += [path.parent for path in programs if ".so" in path.name]
    env = {"LD_LIBRARY_PATH": ":".join(dict.fromkeys(str(each) for each in folders if each.is_dir()))}
    needed = dict.fromkeys(Path(each) for path in programs for each in elf.libraries(path, env))
    libc = next((path for path in needed if path.name == "libc.so.6"), None)
    late = [libc.with_name(name) for name in LATE] if libc else []
    there = {path.name for path in needed}
    return [*needed, *(path for path in late if path.name not in there and path.is_file())]


def _clear(root: inside.Root, moved: set[str], guests: set[str], private: str) -> None:
    """Remove what is in the private directory now from where the guest's own programs would find it."""
    for folder in FOLDERS:
        if not root.is_directory(folder) or root.real(folder) == root.real(private):
            continue
        for name in fnmatch.filter(root.names(folder), "lib*.so*"):
            if (name in moved or f"/{name}" in guests) and not root.is_directory(f"{folder}/{name}"):
                root.remove(f"{folder}/{name}")
    # With the guest's own libraries, its own loader: this one would be for all programs.
    root.remove(elf.LOADER)
