"""images/<name>/image.yaml + rootfs/ + packages ──image:<name>──> image/<name>.qcow2 + .json

An image that extends another one is the same tree with overlays unpacked over it. No root, no VM, no loop
device. A base image has a second stamp, <name>.packages.json, so that only its packages touch overlays.
"""

import contextlib
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tasks.base import files, locks, proc
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.containers import oci_archive, store
from tasks.build.overlay import host_libraries, ovl
from tasks.build.sources import apt, requested
from tasks.definitions import image_chain, iso_choice
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import Image
from tasks.engine import kit
from tasks.formats import capabilities, descent, ext4, inside, tiny_programs, tree, unpack
from tasks.project.project import Project, source_date_epoch
from tasks.project.site import Site

BINARIES = ("bin", "sbin", "usr/bin", "usr/sbin")


@dataclass(frozen=True)
class ImageBuild:
    """An image as it is built in this run."""

    name: str
    base: Image
    packages: PackageRequest
    picks: PackageRequest  # packages of which single files are taken
    overlays: tuple[str, ...]  # keys of overlay tars, in the order they are unpacked
    version: str
    epoch: int
    size: str
    refs: tuple[str, ...]  # container images that are in it


def tasks(project: Project, chosen: iso_choice.IsoChoice) -> kit.Tasks:
    """Two tasks for each base image (its packages are a stamp of their own), one for each that extends it."""
    yield kit.group("image", "Disk images")
    for image in project.definitions.images.values():
        if image.disk:
            continue
        workspace = project.workspace
        targets = [workspace.image(image.name), workspace.stamp("image", image.name)]
        targets += [] if in_directories(project) else descriptions(workspace, image)
        recipe = recipe_of(compose, project, image, chosen, (ext4,))
        yield kit.task("image", image.name, recipe, targets)


def in_directories(project: Project) -> bool:
    """Whether all nodes are containers: then overlays learn from their files what is in an image."""
    return all(node.kind == "container" for node in project.settings.nodes())


def descriptions(workspace: Workspace, image: Image) -> list[Path]:
    """What overlays read of an image: its libraries, and if it is a base image its packages."""
    packages = [] if image.extends else [requested.packages_file(workspace, image.name)]
    return [workspace.image_libs(image.name), *packages]


def recipe_of(
    func: Callable[..., None], project: Project, image: Image, chosen: iso_choice.IsoChoice,
    code: Sequence[ModuleType],
) -> kit.Recipe:  # fmt: skip
    """The recipe of what `func(build, rootfs, site)` makes of an image's files, with `code` of its own."""
    build, rootfs = _of_image(project, image, chosen)
    workspace = project.workspace
    deps = [path for folder in rootfs for path in files.tree_files(folder)]
    deps += [workspace.stamp("ovl", key) for key in build.overlays]
    deps += [workspace.pulled(ref) for ref in build.refs]
    deps.append(workspace.stamp("suite", build.packages.suite))
    usual = (tree, inside, descent, unpack, requested, apt, tiny_programs, host_libraries)
    return kit.Recipe(
        func,
        [build, rootfs, project.site],
        deps=deps,
        inputs={"rootfs": [files.tree_manifest(folder) for folder in rootfs]},
        code=(*usual, *code, *((store, oci_archive) if build.refs else ())),
        packages=[build.packages, build.picks],
    )


def _of_image(project: Project, image: Image, chosen: iso_choice.IsoChoice) -> tuple[ImageBuild, list[Path]]:
    """The image as it is built, and the rootfs trees from the base image up."""
    chain = image_chain.chain(project.definitions.images, image.name)
    overlays = ovl.of_images(project, chain)
    keys = [ovl.recipe(project, overlay, ovl.plain(chosen)).key for overlay in overlays]
    version = project.environ.get("XCLUSTER_VERSION", "0.1.0")
    inside = image_chain.self_contained(project.definitions.images, image.name)
    base = chain[0]
    suite = base.suite or project.settings.suite
    build = ImageBuild(
        image.name,
        base,
        PackageRequest(suite, base.packages, base.exclude),
        PackageRequest(suite, tuple(base.pick), alone=True),
        tuple(keys),
        version,
        source_date_epoch(project.environ),
        image.size,
        tuple(store.listed(project, inside)),
    )
    folders = [each.directory / "rootfs" for each in chain]
    return build, [folder for folder in folders if folder.is_dir()]


def compose(build: ImageBuild, rootfs: list[Path], site: Site) -> None:
    """Compose the disk image from Debian packages"""
    workspace = site.workspace
    out = workspace.image(build.name)
    with locks.locked(out.with_suffix(".lock")), files.atomic(out) as temp:
        raw, root = temp.with_suffix(".raw.tmp"), temp.with_suffix(".tree.tmp")
        try:
            files.remove(root)
            root.mkdir()
            packages, picked, devices = put_together(build, rootfs, site, root)
            ext4.make(
                root,
                raw,
                build.size,
                build.epoch,
                devices={**devices, **build.base.devices},
                owners=build.base.owners,
            )
            ext4.to_qcow2(raw, temp)
        finally:
            raw.unlink(missing_ok=True)
            files.remove(root)
    files.write_stamp(
        workspace.stamp("image", build.name), {"qcow2": out}, packages=apt.facts([*packages, *picked])
    )


def put_together(
    build: ImageBuild, rootfs: list[Path], site: Site, root: Path
) -> tuple[list[apt.Package], list[apt.Package], unpack.Devices]:
    """Put the files of an image into a directory, and describe it for overlays.

    Returns its packages, those of single files, and the devices that cannot be in a directory.
    """
    packages, picked = requested.fetch(build.packages, site), requested.fetch(build.picks, site)
    root.chmod(0o755)
    _compose(build.base, packages, picked, rootfs, root)
    devices: unpack.Devices = {}
    for key in build.overlays:
        devices |= unpack.tar(site.workspace.ovl(key), root)
    if build.refs:
        store.put_inside(site.workspace, build.refs, root, build.epoch)
    with inside.Root(root) as place:
        _finish(build, place, root)
        devices = {path: device for path, device in devices.items() if not place.is_taken(path)}
    host_libraries.write_list(root, site.workspace.image_libs(build.name))
    if build.name == build.base.name:
        packages_file = requested.packages_file(site.workspace, build.name)
        files.write_json(packages_file, {"packages": apt.facts(packages)})
    return packages, picked, devices


def _compose(
    base: Image, packages: list[apt.Package], picked: list[apt.Package], rootfs: list[Path], path: Path
) -> None:
    unpack.debs([each.path for each in packages], path, base.drop)
    with inside.Root(path) as root:
        for package in picked:
            _pick(package, base.pick[package.name], root)
    capable: dict[str, bytes] = {}
    for folder in rootfs:
        capable |= tree.lay_over(folder, path)
    tree.put_files(capabilities.carriers(capable, "image"), path)
    tree.put_files({"usr/sbin/xc-reseed": tiny_programs.reseed()}, path)
    with inside.Root(path) as root:
        for name in base.dirs:
            root.directory(name)
        for name, target in base.links.items():
            if not root.is_taken(name):
                root.symlink(name, target)


def _pick(package: apt.Package, places: dict[str, str], root: inside.Root) -> None:
    """Single files of a package, wherever they are to go."""
    source = proc.pipe(["dpkg-deb", "--fsys-tarfile", package.path], stdout=subprocess.PIPE)
    left = dict(places)
    assert source.stdout
    try:
        with tarfile.open(fileobj=source.stdout, mode="r|") as tar:
            for member in tar:
                place = left.pop(unpack.plain_name(member.name), None)
                if place and member.isreg():
                    unpack.put(tar, member, place, root)
    finally:
        source.stdout.close()
        proc.finish(source)
    if left:
        raise UserError(
            f"package {package.name} has no file {', '.join(left)}", "correct `pick` in image.yaml"
        )


def _finish(build: ImageBuild, root: inside.Root, path: Path) -> None:
    """What depends on the whole tree: applet links, the version, the modes that the definition gives."""
    _link_applets(build.base, root, path)
    for name in ("etc/os-release", "etc/issue"):
        if root.is_file(name):
            real = root.real(name)
            content = root.read(real).replace(b"@VERSION@", build.version.encode())
            with root.file(real, 0o644) as file:
                file.write(content)
    for key in ("dirs", "modes"):
        for name, mode in getattr(build.base, key).items():
            with _there(build.base, key, name):
                root.chmod(name, int(mode, 8))


@contextlib.contextmanager
def _there(base: Image, key: str, path: str) -> Iterator[None]:
    """A path of a definition that is not in the image is a mistake in it."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        where = base.directory / "image.yaml"
        raise UserError(f"{where}: {key}: there is no {path} in the image", "correct the path") from None


def _link_applets(base: Image, root: inside.Root, path: Path) -> None:
    """A link for each applet of busybox that is in no other way a program of the image."""
    if not root.is_file("bin/busybox"):
        return
    applets = proc.output([str(path / root.real("bin/busybox")), "--list-full"]).decode().split()
    for applet in applets:
        name = Path(applet).name
        taken = any(root.is_taken(f"{folder}/{name}") for folder in BINARIES)
        if name not in base.no_applets and not taken:
            root.symlink(applet, "/bin/busybox")
