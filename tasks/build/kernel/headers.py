"""kernel/<name>.yaml ──headers:<name>──> kbuild/<name>/{source,objects}, which modules are compiled against

`make -C objects M=$PWD` and `make -C source O=objects M=$PWD` are what overlays of xcluster call, as
`$__kobj` and `$KERNELDIR/$__kver`. A prebuilt kernel has them from Debian's packages of headers.
"""

import os
from collections.abc import Collection
from pathlib import Path

from tasks.base import files, locks, odd_signs
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.kernel import kbuild, kconfig, kernel
from tasks.build.sources import requested
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import Kernel
from tasks.engine import kit
from tasks.formats import unpack
from tasks.project.project import Project, source_date_epoch
from tasks.project.site import Site

# A compiler is the host's, and what the tools in these packages are linked with is there with it.
NOT_WITH_HEADERS = (
    *(f"linux-compiler-gcc-{version}-x86" for version in range(8, 20)),
    "libc6", "libelf1", "libelf1t64", "libssl3", "libssl3t64", "zlib1g",
)  # fmt: skip
SYMBOLS = "Module.symvers"  # what the kernel exports; it is written last


def tasks(project: Project, in_use: Collection[str]) -> kit.Tasks:
    """One task for each kernel. The packages of those in `in_use` are among what builds take from outside."""
    yield kit.group("headers", "What modules of a kernel are compiled against")
    for each in project.definitions.kernels.values():
        workspace = project.workspace
        recipe = (
            _of_packages(project, each, each.name in in_use) if each.prebuilt else _of_source(project, each)
        )
        targets = [workspace.stamp("headers", each.name), objects(workspace, each.name) / SYMBOLS]
        yield kit.task("headers", each.name, recipe, targets, [kernel.work(project.site, each)])


def objects(workspace: Workspace, name: str) -> Path:
    """The object tree of a kernel: `$__kobj`."""
    return workspace.root / "kbuild" / name / "objects"


def _of_packages(project: Project, each: Kernel, is_wanted: bool) -> kit.Recipe:
    assert each.prebuilt
    suite = each.prebuilt.suite or project.settings.suite
    name = each.prebuilt.package.replace("linux-image-", "linux-headers-", 1).removesuffix("-unsigned")
    request = PackageRequest(suite, (name,), NOT_WITH_HEADERS)
    return kit.Recipe(
        unpacked,
        [each, request, project.site],
        deps=[project.workspace.stamp("suite", suite), project.workspace.stamp("kernel", each.name)],
        code=(unpack,),
        packages=(request,) if is_wanted else (),
    )


def _of_source(project: Project, each: Kernel) -> kit.Recipe:
    fragments = kconfig.load(project.root / "kernel" / "fragments", each.fragments)
    return kit.Recipe(
        compiled,
        [each, fragments, source_date_epoch(project.environ), project.site],
        deps=[project.workspace.stamp("kernel", each.name)],
        code=(kbuild,),
    )


def unpacked(each: Kernel, request: PackageRequest, site: Site) -> None:
    """Unpack the headers of the kernel"""
    odd_signs.refuse(site.workspace.root, odd_signs.KERNEL, "the compilation of modules")
    packages = requested.fetch(request, site)
    folder = kernel.work(site, each)
    version = str(files.read_json(site.workspace.stamp("kernel", each.name))["version"])
    with locks.locked(site.workspace.kernel(each.name).with_suffix(".lock")):
        with files.atomic(folder, directory=True) as temp:
            unpack.debs([package.path for package in packages], temp)
            own = temp / "usr/src" / f"linux-headers-{version}"
            common = [path for path in (temp / "usr/src").glob("linux-headers-*-common*") if path.is_dir()]
            if not own.is_dir() or not common:
                there = ", ".join(sorted(path.name for path in (temp / "usr/src").glob("linux-headers-*")))
                raise UserError(
                    f"the package {request.names[0]} has no headers of kernel {version} (it has: {there})",
                    "run 'xc update', so that the kernel and its headers are of one version",
                )
            _settle(own, folder)
            os.symlink(f"usr/src/{common[0].name}", temp / "source")
            os.symlink(f"usr/src/{own.name}", temp / "objects")
        _finish(each, site, version)


def _settle(own: Path, folder: Path) -> None:
    """Let Debian's makefiles name the directory where they are, and a compiler that is there."""
    for path in (own / "Makefile", own / ".kernelvariables"):
        if path.is_file():
            text = path.read_text().replace("/usr/src/", f"{folder}/usr/src/")
            lines = [_any_compiler(line) if line.startswith("CC = ") else line for line in text.splitlines()]
            path.write_text("\n".join(lines) + "\n")


def _any_compiler(line: str) -> str:
    before, _, name = line.rpartition("gcc-")
    return f"{before}$(if $(shell command -v gcc-{name}),gcc-{name},gcc)" if name.isdigit() else line


def compiled(each: Kernel, fragments: kernel.Fragments, epoch: int, site: Site) -> None:
    """Compile the trees of the kernel, unless they are there"""
    with locks.locked(site.workspace.kernel(each.name).with_suffix(".lock")):
        folder, config = objects(site.workspace, each.name), site.workspace.kernel(each.name) / "config"
        has = (folder / SYMBOLS).is_file() and (folder / ".config").is_file()
        if not has or (folder / ".config").read_bytes() != config.read_bytes():
            kbuild.need_tools()
            kernel.configured(each, fragments, epoch, site).compile()
        _finish(each, site, str(files.read_json(site.workspace.stamp("kernel", each.name))["version"]))


def _finish(each: Kernel, site: Site, version: str) -> None:
    """What overlays look for as `$KERNELDIR/$__kver`, and the stamp."""
    link(site.workspace, each.name)
    symbols = objects(site.workspace, each.name) / SYMBOLS
    files.write_stamp(site.workspace.stamp("headers", each.name), {SYMBOLS: symbols}, version=version)


def link(workspace: Workspace, name: str) -> None:
    """The source tree of a kernel below KERNELDIR."""
    path = workspace.root / "xcluster" / "linux" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    target = f"../../kbuild/{name}/source"
    if not (path.is_symlink() and os.readlink(path) == target):
        files.remove(path)
        path.symlink_to(target)
