"""kernel/<name>.yaml + fragments ──kernel:<name>──> kernel/<name>/{vmlinux,bzImage,modules.img,...}

Prebuilt (a Debian package) or from source; both end in the same files and one stamp, kernel/<name>.json.
"""

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tasks.base import files, locks, odd_signs, proc
from tasks.base.errors import UsageError, UserError, unknown
from tasks.build.kernel import initramfs, kbuild, kconfig, vmlinux
from tasks.build.sources import artifact, requested
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import Kernel
from tasks.engine import kit
from tasks.formats import cpio, descent, ext4, inside, unpack
from tasks.project.project import ROOT, After, Does, Project, source_date_epoch
from tasks.project.site import Site

# What the packages of a prebuilt kernel depend on for booting a whole Debian.
NOT_WITH_KERNEL = (
    "kmod",
    "linux-base",
    "initramfs-tools",
    "linux-initramfs-tool",
    "firmware-linux-free",
    "apparmor",
)
LEAST_DISK = 16  # MiB: in a smaller one ext4's journal does not fit, however few modules there are
Fragments = dict[str, dict[str, str]]


def tasks(project: Project) -> kit.Tasks:
    """One task for each kernel."""
    yield kit.group("kernel", "Kernels")
    for kernel in project.definitions.kernels.values():
        workspace = project.workspace
        targets = [workspace.stamp("kernel", kernel.name), workspace.kernel(kernel.name) / "bzImage"]
        also = [workspace.kernel(kernel.name), work(project.site, kernel)]
        yield kit.task("kernel", kernel.name, _recipe(project, kernel), targets, also)


def _recipe(project: Project, kernel: Kernel) -> kit.Recipe:
    epoch = source_date_epoch(project.environ)
    if kernel.prebuilt:
        suite = kernel.prebuilt.suite or project.settings.suite
        packages = PackageRequest(suite, (kernel.prebuilt.package,), NOT_WITH_KERNEL)
        shell = PackageRequest(suite, ("busybox-static",), alone=True)  # of the initramfs
        return kit.Recipe(
            unpack_prebuilt,
            [kernel, (packages, shell), epoch, project.site],
            deps=[project.workspace.stamp("suite", suite)],
            code=(initramfs, cpio, ext4, vmlinux, inside, descent, unpack),
            packages=(packages, shell),
            keeps=partial(files.tree_files, project.workspace.kernel(kernel.name)),
        )
    assert kernel.source
    fragments = kconfig.load(project.root / "kernel" / "fragments", kernel.fragments)
    patches = [project.root / "kernel" / patch for patch in kernel.patches]
    return kit.Recipe(
        build,
        [kernel, fragments, epoch, project.site],
        deps=[project.workspace.stamp("artifact", kernel.source.name), *patches],
        code=(kbuild, kconfig, ext4, inside, descent, unpack),
        artifacts=(kernel.source,),
        keeps=partial(files.tree_files, project.workspace.kernel(kernel.name)),
    )


def unpack_prebuilt(kernel: Kernel, requests: Sequence[PackageRequest], epoch: int, site: Site) -> None:
    """Unpack the kernel package and make its initramfs"""
    packages = [package for request in requests for package in requested.fetch(request, site)]
    folder = site.workspace.kernel(kernel.name)
    with locks.locked(folder.with_suffix(".lock")), files.atomic(folder, directory=True) as temp:
        root = temp / "tree"
        root.mkdir()
        unpack.debs([each.path for each in packages], root)
        with inside.Root(root) as place:
            image, version = _find_image(place, kernel)
            shell = _take(place, "bin/busybox")
            (temp / "bzImage").write_bytes(image)
            (temp / "config").write_bytes(_take(place, f"boot/config-{version}"))
            if place.real(f"lib/modules/{version}") != f"lib/modules/{version}":
                raise UserError(f"kernel '{kernel.name}': lib/modules in its package is a link")
        elf = vmlinux.extract(image)
        if elf:
            (temp / "vmlinux").write_bytes(elf)
        proc.run(["depmod", "-b", root, version])
        modules = root / "lib" / "modules"
        initramfs.write(
            temp / "initramfs.cpio",
            modules / version,
            kernel.initramfs_modules,
            shell,
        )
        modules_disk(modules, temp, epoch)
        files.remove(root)
    _stamp(kernel, site, version, "vmlinux" if elf else "bzImage")


def _take(root: inside.Root, path: str) -> bytes:
    """A file of the packages."""
    try:
        return root.read(path)
    except OSError as error:
        raise UserError(f"the packages of the kernel have no file {path}: {error.strerror}") from error


def _find_image(root: inside.Root, kernel: Kernel) -> tuple[bytes, str]:
    """The kernel in a package, and its version."""
    images = [name for name in root.names("boot") if name.startswith("vmlinuz-")]
    if not images:
        assert kernel.prebuilt
        raise UserError(
            f"the package {kernel.prebuilt.package} contains no /boot/vmlinuz-*",
            "name a package that contains a kernel, such as linux-image-cloud-amd64",
        )
    return _take(root, f"boot/{images[0]}"), images[0].removeprefix("vmlinuz-")


def build(kernel: Kernel, fragments: Fragments, epoch: int, site: Site) -> None:
    """Configure and compile the kernel"""
    odd_signs.refuse(site.workspace.root, odd_signs.KERNEL, "the compilation of a kernel")
    kbuild.need_tools()
    folder = site.workspace.kernel(kernel.name)
    with locks.locked(folder.with_suffix(".lock")):
        build_tree = configured(kernel, fragments, epoch, site)
        build_tree.compile()
        with files.atomic(folder, directory=True) as temp:
            build_tree.save(temp)
            root = temp / "tree"
            root.mkdir()
            build_tree.install_modules(root)
            modules_disk(root / "lib" / "modules", temp, epoch)
            files.remove(root)
    _stamp(kernel, site, build_tree.version(), "vmlinux")


def work(site: Site, kernel: Kernel) -> Path:
    """Where a kernel is compiled."""
    return site.workspace.root / "kbuild" / kernel.name


def configured(kernel: Kernel, fragments: Fragments, epoch: int, site: Site) -> kbuild.Tree:
    """The trees of a kernel from source, ready to be compiled."""
    assert kernel.source
    source = artifact.content(kernel.source.name, site.workspace)
    place = work(site, kernel)
    patches = [ROOT / "kernel" / patch for patch in kernel.patches]
    log = site.workspace.log(f"kernel:{kernel.name}")
    log.unlink(missing_ok=True)
    kbuild.unpack(source, source.name, patches, place / "source")
    build_tree = kbuild.Tree(place / "source", place / "objects", epoch, log)
    build_tree.configure(fragments)
    return build_tree


def modules_disk(modules: Path, folder: Path, epoch: int) -> None:
    """A disk of /lib/modules that every node mounts read-only, so that no kernel has to fit an image."""
    for path in modules.rglob("*"):  # what depmod wrote has the modes that the user's umask left
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    size = sum(path.lstat().st_size + 4096 for path in modules.rglob("*")) * 11 // 10
    with files.atomic(folder / "modules.img") as temp:
        ext4.make(modules, temp, f"{max((size >> 20) + 8, LEAST_DISK)}M", epoch)


def _stamp(kernel: Kernel, site: Site, version: str, boot: str) -> None:
    folder = site.workspace.kernel(kernel.name)
    names = ("bzImage", "vmlinux", "config", "initramfs.cpio", "modules.img")
    outputs = {name: folder / name for name in names if (folder / name).is_file()}
    config = kconfig.read(folder / "config")
    files.write_stamp(
        site.workspace.stamp("kernel", kernel.name),
        outputs,
        version=version,
        boot=boot,
        cmdline=kernel.cmdline,
        hz=config.get("CONFIG_HZ", ""),
        mptable=config.get("CONFIG_X86_MPPARSE") == "y",
        initramfs="initramfs.cpio" in outputs,
        modules="modules.img" in outputs,
    )


def _named(project: Project) -> list[Kernel]:
    """The kernel that menuconfig is asked for."""
    if project.words.verb != "menuconfig":
        return []
    name = project.words.args[0]
    kernel = project.definitions.kernels.get(name)
    if kernel is None or kernel.source is None:
        built = [k.name for k in project.definitions.kernels.values() if k.source]
        raise UsageError(unknown("kernel to configure", name, built))
    return [kernel]


def _menuconfig(project: Project) -> None:
    kernel = _named(project)[0]
    fragments = kconfig.load(project.root / "kernel" / "fragments", kernel.fragments)
    build_tree = configured(kernel, fragments, source_date_epoch(project.environ), project.site)
    config = build_tree.objects / ".config"
    before = kconfig.read(config)
    code = os.spawnvp(
        os.P_WAIT, "make", ["make", "-C", str(build_tree.source), f"O={build_tree.objects}", "menuconfig"]
    )
    if code:
        raise UserError("menuconfig failed", "it needs a terminal and the package libncurses-dev")
    changed = {
        s: v for s, v in kconfig.read(config).items() if before.get(s, "n") != v and re.match("CONFIG_", s)
    }
    print(kconfig.text(changed), end="")


def _sources(project: Project, cluster: list[str]) -> list[str]:
    return [f"artifact:{kernel.source.name}" for kernel in _named(project) if kernel.source]


DOES: Does = {"menuconfig": _menuconfig}
AFTER: After = {"menuconfig": _sources}
