"""images: in definitions ──pull:<ref>──> cache/oci/ (each blob once) + pull/<ref>.json

A container image is pulled from a registry, made here of packages, an overlay and a tree, or was made by
`xc images mkimage`. A tag is resolved once, and stays what it was; a digest never needs the network again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tasks.base import files, locks
from tasks.base.errors import DefinitionError, UserError
from tasks.build.containers import local_images, oci, platforms, registry_api
from tasks.build.containers.registry_api import NotThere, Repository
from tasks.build.containers.registry_places import RegistryAccess
from tasks.build.overlay import ovl
from tasks.build.sources import apt, requested
from tasks.definitions import image_reference, iso_choice
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import ContainerImage, Overlay
from tasks.engine import kit
from tasks.formats import descent, inside, tree, unpack
from tasks.project.project import Project, source_date_epoch
from tasks.project.site import Site


@dataclass(frozen=True)
class Listed:
    """A container image of a definition."""

    image: ContainerImage
    directory: Path  # of the definition
    users: tuple[str, ...]  # the definitions that list it, as ovl:NAME or image:NAME


@dataclass(frozen=True)
class ContainerBuild:
    """How an image is made here, in this run."""

    image: ContainerImage
    packages: PackageRequest | None
    tree: Path | None
    overlay: str  # the key of its tar
    epoch: int


def tasks(project: Project, chosen: iso_choice.IsoChoice, extra: Mapping[str, Overlay]) -> kit.Tasks:
    """One task for each container image that an overlay or a disk image lists.

    `extra` are the overlays on the ISO, by directory: some only the command line names.
    """
    yield kit.group("pull", "Container images")
    for listed in every(project, extra.values()).values():
        recipe = _recipe(project, listed, chosen)
        yield kit.task("pull", listed.image.ref, recipe, [project.workspace.pulled(listed.image.ref)])


def _recipe(project: Project, listed: Listed, chosen: iso_choice.IsoChoice) -> kit.Recipe:
    """Whether the image is made of its definition, was made by `xc images mkimage`, or is pulled."""
    if listed.image.is_made_here:
        return _making(project, listed, chosen)
    keeps = partial(local_images.blobs, project.workspace, listed.image.ref)
    if listed.image.reference.local:
        return kit.Recipe(local_images.recorded, [listed.image.ref, project.site], code=(oci,), keeps=keeps)
    args = [listed.image.ref, access(project), project.site]
    return kit.Recipe(fetch, args, code=(local_images, oci, registry_api), keeps=keeps)


def every(project: Project, extra: Iterable[Overlay] = ()) -> dict[str, Listed]:
    """Every container image by its full name. DefinitionError when one is made in two ways."""
    images: dict[str, Listed] = {}
    problems: list[str] = []
    owners = [(f"ovl:{o.name}", o.directory, o.images) for o in project.definitions.built(extra)]
    owners += [(f"image:{i.name}", i.directory, i.images) for i in project.definitions.images.values()]
    for owner, directory, listed in owners:
        for image in listed:
            new = Listed(image, directory, (owner,))
            images[image.ref] = _merged(images[image.ref], new, problems) if image.ref in images else new
    if problems:
        raise DefinitionError(problems)
    return images


def _merged(first: Listed, second: Listed, problems: list[str]) -> Listed:
    """An image that two definitions list: what one of them says of how it is made counts."""
    users = (*first.users, *second.users)
    both = first.image.is_made_here and second.image.is_made_here
    if both and (first.image, first.directory) != (second.image, second.directory):
        name = first.image.ref
        problems.append(f"container image '{name}' is made in two ways: {' and '.join(users)}")
    return replace(
        first if first.image.is_made_here or not second.image.is_made_here else second, users=users
    )


def access(project: Project) -> RegistryAccess:
    """How the settings say that registries are reached."""
    settings = project.settings
    return RegistryAccess.of(settings.registry_mirrors, settings.registry_insecure, settings.download_timeout)


def fetch(ref: str, access: RegistryAccess, site: Site) -> None:
    """Pull the container image, unless it is here"""
    reference, layout = image_reference.parse(ref), oci.Layout(site.workspace.oci)
    stamp = site.workspace.pulled(ref)
    with locks.locked(stamp.with_suffix(".lock")):
        before = files.read_json(stamp).get("top")
        top = reference.digest or (str(before) if before else None)
        if not (top and local_images.platform_of(layout, top, ref)):
            if site.offline:
                raise UserError(
                    f"container image {ref} is not in the cache, and --offline is set",
                    f"pull it once with a network: xc 'pull:{ref}'",
                )
            top = _pull(reference, top, access, layout)
        local_images.record(site.workspace, ref, top, "pulled")


def _pull(
    reference: image_reference.Reference, top: str | None, access: RegistryAccess, layout: oci.Layout
) -> str:
    try:
        return registry_api.first(reference, access, lambda there: copy_here(there, reference, top, layout))
    except NotThere:
        if top is None or reference.digest:
            raise
        now = resolve(reference, access)
        raise UserError(
            f"{reference.text} moved: it was {top} when it was pulled first, now it is {now}, "
            "and no registry has the old one any more",
            f"accept the new one: xc images update {reference.text}",
        ) from None


def resolve(reference: image_reference.Reference, access: RegistryAccess) -> str:
    """The digest that the registry has for a tag now."""
    assert reference.tag
    tag = reference.tag
    return registry_api.first(reference, access, lambda there: there.manifest(tag)[1])


def copy_here(
    there: Repository, reference: image_reference.Reference, top: str | None, layout: oci.Layout
) -> str:
    """Copy manifest and blobs for our platform to the layout; the digest of what the name stands for."""
    data, digest = there.manifest(top or reference.tag or "latest")
    oci.parsed(data, f"{there.place.text}: the manifest of {reference.text}")
    layout.put(data)
    reader = _Reader(there, layout)
    chosen = platforms.choose(reader, digest, reference.text)
    for blob in oci.Manifest.of(layout.json(chosen), reference.text).layers:
        reader.blob(blob)
    return digest


@dataclass(frozen=True)
class _Reader:
    """Reads manifests and configs of a registry; keeps them in the layout."""

    there: Repository
    layout: oci.Layout

    def manifest(self, digest: str) -> Mapping[str, Any]:
        if not self.layout.has(digest):
            self.layout.put(self.there.manifest(digest)[0])
        return self.layout.json(digest)

    def config(self, descriptor: oci.Descriptor) -> Mapping[str, Any]:
        self.blob(descriptor)
        return self.layout.json(descriptor.digest)

    def blob(self, descriptor: oci.Descriptor) -> None:
        if not self.layout.has(descriptor.digest, descriptor.size):
            self.there.blob(descriptor, self.layout.blob(descriptor.digest))


def renew(reference: image_reference.Reference, access: RegistryAccess, site: Site) -> str:
    """Pull what the tag stands for now, and record it; its digest."""
    if site.offline:
        raise UserError("a tag can only be looked up in its registry, and --offline is set")
    stamp = site.workspace.pulled(reference.text)
    with locks.locked(stamp.with_suffix(".lock")):
        now = resolve(reference, access)
        layout = oci.Layout(site.workspace.oci)
        if not local_images.platform_of(layout, now, reference.text):
            registry_api.first(reference, access, lambda there: copy_here(there, reference, now, layout))
        local_images.record(site.workspace, reference.text, now, "pulled")
    return now


def _making(project: Project, listed: Listed, chosen: iso_choice.IsoChoice) -> kit.Recipe:
    image, workspace = listed.image, project.workspace
    folder = listed.directory / image.tree if image.tree else None
    deps = files.tree_files(folder) if folder else []
    key = ""
    if image.overlay:
        meant = project.definitions.seen_from(listed.directory)
        key = ovl.recipe(project, project.definitions.resolved(meant[image.overlay]), ovl.plain(chosen)).key
        deps.append(workspace.stamp("ovl", key))
    packages = None
    if image.packages:
        packages = PackageRequest(image.suite or project.settings.suite, image.packages, image.exclude)
        deps.append(workspace.stamp("suite", packages.suite))
    return kit.Recipe(
        make,
        [ContainerBuild(image, packages, folder, key, source_date_epoch(project.environ)), project.site],
        deps=deps,
        inputs={"tree": [files.tree_manifest(folder)] if folder else []},
        code=(local_images, oci, tree, inside, descent, unpack, requested, apt),
        packages=[packages] if packages else [],
        keeps=partial(local_images.blobs, workspace, image.ref),
    )


def make(build: ContainerBuild, site: Site) -> None:
    """Make the container image"""
    image, workspace = build.image, site.workspace
    stamp = workspace.pulled(image.ref)
    with locks.locked(stamp.with_suffix(".lock")):
        scratch = stamp.with_name(f"{stamp.stem}.layer")
        with files.scratch(scratch) as work:
            work.mkdir()
            root = work / "root"
            root.mkdir()
            devices: unpack.Devices = {}
            if build.packages:
                packages = requested.fetch(build.packages, site)
                unpack.debs([each.path for each in packages], root, image.drop)
            if build.overlay:
                devices |= unpack.tar(workspace.ovl(build.overlay), root)
            if build.tree:
                tree.lay_over(build.tree, root)
            if not tree.write_tar(root, work / "layer.tar", build.epoch, devices):
                raise UserError(
                    f"container image {image.ref} is empty",
                    "give it content in its definition: packages, overlay or tree",
                )
            digest = oci.make(oci.Layout(workspace.oci), work / "layer.tar", _options(image), build.epoch)
        local_images.record(workspace, image.ref, digest, "made")


def _options(image: ContainerImage) -> dict[str, Any]:
    return {
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.command),
        "Env": [f"{key}={value}" for key, value in sorted(image.env.items())],
        "WorkingDir": image.workdir,
        "User": image.user,
    }
