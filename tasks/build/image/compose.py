"""images/<name>/image.yaml + rootfs/ + packages ──image:<name>──> image/<name>.qcow2 + .json

An image that extends another one is the same tree with overlays unpacked over it. No root, no VM, no loop
device. A base image has a second stamp, <name>.packages.json, so that only its packages touch overlays.
"""

import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.build.containers import oci_archive, store
from tasks.build.overlay import host_libraries, ovl
from tasks.build.sources import apt, requested
from tasks.definitions import image_chain, iso_choice
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import Image
from tasks.engine import kit
from tasks.formats import capabilities, ext4, tiny_programs, tree
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
        build, rootfs = _recipe(project, image, chosen)
        workspace = project.workspace
        deps = [path for folder in rootfs for path in files.tree_files(folder)]
        deps += [workspace.stamp("ovl", key) for key in build.overlays]
        deps += [workspace.pulled(ref) for ref in build.refs]
        deps.append(workspace.stamp("suite", build.packages.suite))
        targets = [workspace.image(image.name), workspace.stamp("image", image.name)]
        targets.append(workspace.image_libs(image.name))
        if not image.extends:
            targets.append(requested.packages_file(workspace, image.name))
        recipe = kit.Recipe(
            compose,
            [build, rootfs, project.site],
            deps=deps,
            inputs={"rootfs": [files.tree_manifest(folder) for folder in rootfs]},
            code=(
                tree,
                ext4,
                requested,
                apt,
                tiny_programs,
                host_libraries,
                *((store, oci_archive) if build.refs else ()),
            ),
            packages=[build.packages, build.picks],
        )
        yield kit.task("image", image.name, recipe, targets)


def _recipe(project: Project, image: Image, chosen: iso_choice.IsoChoice) -> tuple[ImageBuild, list[Path]]:
    """The recipe, and the rootfs trees from the base image up."""
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
    packages, picked = requested.fetch(build.packages, site), requested.fetch(build.picks, site)
    with files.locked(out.with_suffix(".lock")), files.atomic(out) as temp:
        raw, root = temp.with_suffix(".raw.tmp"), temp.with_suffix(".tree.tmp")
        try:
            files.remove(root)
            root.mkdir()
            _compose(build.base, packages, picked, rootfs, root)
            for key in build.overlays:
                _unpack_overlay(workspace.ovl(key), root)
            if build.refs:
                store.put_inside(workspace, build.refs, root, build.epoch)
            _finish(build, root)
            host_libraries.write_list(root, workspace.image_libs(build.name))
            ext4.make(
                root, raw, build.size, build.epoch, devices=build.base.devices, owners=build.base.owners
            )
            ext4.to_qcow2(raw, temp)
        finally:
            raw.unlink(missing_ok=True)
            files.remove(root)
    if build.name == build.base.name:
        files.write_json(requested.packages_file(workspace, build.name), {"packages": apt.facts(packages)})
    files.write_stamp(
        workspace.stamp("image", build.name), {"qcow2": out}, packages=apt.facts([*packages, *picked])
    )


def _compose(
    base: Image, packages: list[apt.Package], picked: list[apt.Package], rootfs: list[Path], root: Path
) -> None:
    tree.unpack([each.path for each in packages], root, base.drop)
    for package in picked:
        _pick(package, base.pick[package.name], root)
    capable: dict[str, bytes] = {}
    for folder in rootfs:
        capable |= tree.lay_over(folder, root)
    tree.put_files(capabilities.carriers(capable, "image"), root)
    for path in base.dirs:
        (root / path).mkdir(parents=True, exist_ok=True)
    reseed = root / "usr/sbin/xc-reseed"
    reseed.parent.mkdir(parents=True, exist_ok=True)
    reseed.write_bytes(tiny_programs.reseed())
    reseed.chmod(0o755)
    for path, target in base.links.items():
        link = root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() and not link.exists():
            link.symlink_to(target)


def _pick(package: apt.Package, places: dict[str, str], root: Path) -> None:
    """Single files of a package, wherever they are to go."""
    source = proc.pipe(["dpkg-deb", "--fsys-tarfile", package.path], stdout=subprocess.PIPE)
    left = dict(places)
    assert source.stdout
    with tarfile.open(fileobj=source.stdout, mode="r|") as tar:
        for member in tar:
            place = left.pop(member.name.removeprefix("./"), None)
            content = tar.extractfile(member) if place else None
            if place and content:
                target = root / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
                target.chmod(member.mode & 0o7777)
    proc.finish(source)
    if left:
        raise UserError(
            f"package {package.name} has no file {', '.join(left)}", "correct `pick` in image.yaml"
        )


def _unpack_overlay(tar_file: Path, root: Path) -> None:
    with tarfile.open(tar_file) as tar:
        tar.extractall(root, filter="tar")


def _finish(build: ImageBuild, root: Path) -> None:
    """What depends on the whole tree: applet links, the version, directory and file modes."""
    _link_applets(build.base, root)
    for name in ("etc/os-release", "etc/issue"):
        path = root / name
        if path.is_file():
            path.write_text(path.read_text().replace("@VERSION@", build.version))
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())):
        folder.chmod(0o755)
    for path_, mode in {**build.base.dirs, **build.base.modes}.items():
        (root / path_).chmod(int(mode, 8))


def _link_applets(base: Image, root: Path) -> None:
    """A link for each applet of busybox that is in no other way a program of the image."""
    busybox = root / "bin" / "busybox"
    if not busybox.is_file():
        return
    for path in proc.output([str(busybox), "--list-full"]).decode().split():
        name = Path(path).name
        taken = any(
            (root / folder / name).is_symlink() or (root / folder / name).exists() for folder in BINARIES
        )
        if name not in base.no_applets and not taken:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).symlink_to("/bin/busybox")
