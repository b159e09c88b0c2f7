"""An initramfs that loads the modules needed to reach the root disk, and goes on to it."""

import re
from collections.abc import Iterable
from pathlib import Path

from tasks.base import files
from tasks.base.errors import UserError
from tasks.formats import cpio

INIT = """\
#!/bin/busybox sh
# Loads what it takes to reach the root disk, in order of dependence, and goes on there.
for module in {modules}; do
	insmod /lib/modules/$module || echo "initramfs: $module does not load"
done
mount -t devtmpfs devtmpfs /dev
# The kernel gives its init the words that it does not know itself as variables.
root=${{xc_root:-/dev/vda}}
i=0
until [ -b $root ]; do
	i=$((i + 1))
	[ $i -gt 100 ] && echo "initramfs: there is no $root" && exec sh
	usleep 20000
done
mount -t ext4 -o rw,noauto_da_alloc $root /root || {{ echo "initramfs: no ext4 on $root"; exec sh; }}
mount -o move /dev /root/dev
exec switch_root /root ${{xc_init:-/init}}
"""


def ordered(modules: Path, names: Iterable[str]) -> list[str]:
    """The files of the modules `names` and of what these need, in load order, relative to a version's tree.

    A module that is built in is left out; one that does not exist is an error.
    """
    depends: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        depends[path] = needs.split()
    by_name = {_name(path): path for path in depends}
    builtin = {_name(line) for line in (modules / "modules.builtin").read_text().split()}
    order: list[str] = []

    def visit(path: str) -> None:
        for need in reversed(depends[path]):
            if need not in order:
                visit(need)
        if path not in order:
            order.append(path)

    missing = [name for name in names if _name(name) not in by_name and _name(name) not in builtin]
    if missing:
        raise UserError(
            f"the kernel has no module {', '.join(missing)}",
            "correct initramfs_modules in the kernel's definition",
        )
    for name in names:
        if _name(name) in by_name:
            visit(by_name[_name(name)])
    return order


def write(out: Path, modules: Path, names: Iterable[str], busybox: bytes) -> None:
    """Write the initramfs: busybox, the modules in order, an init."""
    order = ordered(modules, names)
    entries = [
        cpio.Entry(
            "init", 0o100755, INIT.format(modules=" ".join(Path(path).name for path in order)).encode()
        ),
        cpio.Entry("bin/busybox", 0o100755, busybox),
        cpio.Entry("dev/console", cpio.CHAR, device=(5, 1)),
        cpio.Entry("root"),
    ]
    applets = ("sh", "insmod", "mount", "usleep", "switch_root")
    entries += [cpio.Entry(f"bin/{name}", cpio.LINK, b"busybox") for name in applets]
    entries += [
        cpio.Entry(f"lib/modules/{Path(path).name}", cpio.FILE, (modules / path).read_bytes())
        for path in order
    ]
    with files.atomic(out) as temp:
        cpio.write(temp, entries)


def _name(path: str) -> str:
    return re.sub(r"\.ko(\.(xz|zst|gz))?$", "", Path(path).name).replace("-", "_")
