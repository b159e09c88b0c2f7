"""images: in definitions ──pull:<ref>──> cache/oci/ (each blob once) + pull/<ref>.json

A container image is pulled from a registry, made here of packages, an overlay and a tree, or was made by
`xc images mkimage`. A tag is resolved once, and stays what it was; a digest never needs the network again.
"""

import tarfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.base import files
from tasks.base.errors import DefinitionError, UserError
from tasks.base.paths import Site, Workspace
from tasks.build.containers import oci, registry_api
from tasks.build.containers.registry_api import NotThere, Repository
from tasks.build.containers.registry_places import Access
from tasks.build.overlay import ovl
from tasks.build.sources import apt
from tasks.definitions import image_reference, iso_choice
from tasks.definitions.schema import ContainerImage, Overlay
from tasks.engine import kit
from tasks.formats import tree
from tasks.project.project import Project, source_date_epoch


@dataclass(frozen=True)
class Listed:
    """A container image of a definition."""

    image: ContainerImage
    directory: Path  # of the definition
    users: tuple[str, ...]  # the definitions that list it, as ovl:NAME or image:NAME


@dataclass(frozen=True)
class Recipe:
    """How an image is made here, in this run."""

    image: ContainerImage
    tree: Path | None
    overlay: str  # the key of its tar
    epoch: int


def tasks(project: Project, chosen: iso_choice.Choice, extra: Mapping[str, Overlay]) -> kit.Tasks:
    """One task for each container image that an overlay or a disk image lists.

    `extra` are the overlays on the ISO, by directory: some only the command line names.
    """
    yield kit.group("pull", "Container images")
    workspace = project.workspace
    for listed in every(project, extra.values()).values():
        image = listed.image
        if image.made:
            recipe = _making(project, listed, chosen)
        elif image.reference.local:
            recipe = kit.Recipe(recorded, [image.ref, project.site], code=(oci,))
        else:
            recipe = kit.Recipe(fetch, [image.ref, access(project), project.site], code=(oci, registry_api))
        yield kit.task("pull", image.ref, recipe, [workspace.pulled(image.ref)])


def every(project: Project, extra: Iterable[Overlay] = ()) -> dict[str, Listed]:
    """Every container image by its full name. DefinitionError when one is made in two ways."""
    found: dict[str, Listed] = {}
    problems = []
    overlays = {o.directory: o for o in (*project.definitions.overlays.values(), *extra)}
    owners = [(f"ovl:{o.name}", o.directory, o.images) for o in overlays.values()]
    owners += [(f"image:{i.name}", i.directory, i.images) for i in project.definitions.images.values()]
    for owner, directory, images in owners:
        for image in images:
            known = found.get(image.ref)
            users = (*(known.users if known else ()), owner)
            if (
                known
                and known.image.made
                and image.made
                and (known.image, known.directory) != (image, directory)
            ):
                problems.append(f"container image '{image.ref}' is made in two ways: {' and '.join(users)}")
            better = known if known and (known.image.made or not image.made) else None
            found[image.ref] = Listed(
                better.image if better else image, better.directory if better else directory, users
            )
    if problems:
        raise DefinitionError(problems)
    return found


def access(project: Project) -> Access:
    """How the settings say that registries are reached."""
    return Access.of(project.settings.registry_mirrors, project.settings.registry_insecure)


def fetch(ref: str, access: Access, site: Site) -> None:
    """Pull the container image, unless it is here"""
    reference, layout = image_reference.parse(ref), oci.Layout(site.workspace.oci)
    stamp = site.workspace.pulled(ref)
    with files.locked(stamp.with_suffix(".lock")):
        known = files.read_json(stamp).get("top")
        top = reference.digest or (str(known) if known else None)
        if not (top and platform_of(layout, top)):
            if site.offline:
                raise UserError(
                    f"container image {ref} is not in the cache, and --offline is set",
                    f"once with a network: xc 'pull:{ref}'",
                )
            top = _pull(reference, top, access, layout)
        record(site.workspace, ref, top, "pulled")


def _pull(reference: image_reference.Reference, top: str | None, access: Access, layout: oci.Layout) -> str:
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


def resolve(reference: image_reference.Reference, access: Access) -> str:
    """The digest that the registry has for a tag now."""
    assert reference.tag
    tag = reference.tag
    return registry_api.first(reference, access, lambda there: there.manifest(tag)[1])


def copy_here(
    there: Repository, reference: image_reference.Reference, top: str | None, layout: oci.Layout
) -> str:
    """Copy manifest and blobs for our platform to the layout; the digest of what the name stands for."""
    data, digest = there.manifest(top or reference.tag or "latest")
    value = oci.parsed(data, reference.text)
    layout.put(data)
    if oci.is_index(value):
        one = oci.of_platform(value, reference.text).digest
        data, _ = there.manifest(one)
        layout.put(data)
    manifest = oci.Manifest.of(oci.parsed(data, reference.text), reference.text)
    for blob in (manifest.config, *manifest.layers):
        if not layout.has(blob.digest, blob.size):
            there.blob(blob, layout.blob(blob.digest))
    return digest


def platform_of(layout: oci.Layout, top: str) -> str | None:
    """The manifest for our platform, when it and all its blobs are in the layout."""
    if not layout.has(top):
        return None
    value = layout.json(top)
    digest = oci.of_platform(value, top).digest if oci.is_index(value) else top
    return digest if oci.missing(layout, digest) == [] else None


def record(workspace: Workspace, ref: str, top: str, how: str) -> dict[str, Any]:
    """Write the stamp of a complete image, and the layout's index."""
    layout = oci.Layout(workspace.oci)
    digest = platform_of(layout, top)
    assert digest, "only complete images are recorded"
    manifest = oci.Manifest.of(layout.json(digest), digest)
    known = files.read_json(workspace.pulled(ref))
    same = known.get("top") == top and "since" in known
    stamp = {
        "name": ref,
        "top": top,
        "digest": digest,
        "size": manifest.size,
        "layers": len(manifest.layers),
        "how": how,
        "since": known["since"] if same else int(time.time()),
    }
    files.write_json(workspace.pulled(ref), stamp)
    write_index(workspace)
    return stamp


def write_index(workspace: Workspace) -> None:
    """Make the layout name all images that are recorded."""
    layout = oci.Layout(workspace.oci)
    with files.locked(layout.root / "index.lock"):
        named = {}
        for stamp in sorted(workspace.pulled("x").parent.glob("*.json")):
            known = files.read_json(stamp)
            if "digest" in known and layout.has(known["digest"]):
                size = layout.blob(known["digest"]).stat().st_size
                media = layout.json(known["digest"]).get("mediaType") or oci.MANIFEST
                named[known["name"]] = {"mediaType": media, "digest": known["digest"], "size": size}
        layout.write_index(named)


def renew(reference: image_reference.Reference, access: Access, site: Site) -> str:
    """Pull what the tag stands for now, and record it; its digest."""
    if site.offline:
        raise UserError("tags are resolved by registries, and --offline is set")
    stamp = site.workspace.pulled(reference.text)
    with files.locked(stamp.with_suffix(".lock")):
        now = resolve(reference, access)
        layout = oci.Layout(site.workspace.oci)
        if not platform_of(layout, now):
            registry_api.first(reference, access, lambda there: copy_here(there, reference, now, layout))
        record(site.workspace, reference.text, now, "pulled")
    return now


def sweep(workspace: Workspace) -> int:
    """Remove blobs that no recorded image has; the bytes that were freed."""
    layout = oci.Layout(workspace.oci)
    for lock in workspace.pulled("x").parent.glob("*.lock"):
        with files.locked(lock, wait=False, busy="an image is being pulled"):
            pass
    needed = set()
    for stamp in workspace.pulled("x").parent.glob("*.json"):
        known = files.read_json(stamp)
        manifest = oci.Manifest.of(layout.json(known["digest"]), known["name"])
        blobs = (manifest.config, *manifest.layers)
        needed |= {known["top"], known["digest"], *(blob.digest for blob in blobs)}
    freed = 0
    for path in layout.blob("sha256:x").parent.glob("*"):
        if f"sha256:{path.name}" not in needed:
            freed += path.stat().st_size
            path.unlink()
    write_index(workspace)
    return freed


def recorded(ref: str, site: Site) -> None:
    """Look for the image that was made here"""
    known = files.read_json(site.workspace.pulled(ref))
    if not known or not platform_of(oci.Layout(site.workspace.oci), str(known["top"])):
        raise UserError(
            f"container image {ref} was not made yet",
            f"xc images mkimage --tag={ref.partition('/')[2]} DIR, or say in the definition what is in it",
        )


def _making(project: Project, listed: Listed, chosen: iso_choice.Choice) -> kit.Recipe:
    image, workspace = listed.image, project.workspace
    folder = listed.directory / image.tree if image.tree else None
    deps = files.tree_files(folder) if folder else []
    key = ""
    if image.overlay:
        key = ovl.recipe(project, ovl.resolve(project, image.overlay), ovl.plain(chosen)).key
        deps.append(workspace.stamp("ovl", key))
    if image.packages:
        deps.append(workspace.stamp("suite", image.suite or project.settings.suite))
    made = Recipe(image, folder, key, source_date_epoch(project.environ))
    inputs = {"tree": [files.tree_manifest(folder)] if folder else []}
    return kit.Recipe(make, [made, project.site], deps=deps, inputs=inputs, code=(oci, tree, apt))


def make(made: Recipe, site: Site) -> None:
    """Make the container image"""
    image, workspace = made.image, site.workspace
    stamp = workspace.pulled(image.ref)
    with files.locked(stamp.with_suffix(".lock")):
        scratch = stamp.with_name(f"{stamp.stem}.layer")
        with files.scratch(scratch) as work:
            work.mkdir()
            root = work / "root"
            root.mkdir()
            if image.packages:
                packages = apt.fetch(apt.archive(site, image.suite), image.packages, exclude=image.exclude)
                tree.unpack([each.path for each in packages], root, image.drop)
            if made.overlay:
                with tarfile.open(workspace.ovl(made.overlay)) as tar:
                    tar.extractall(root, filter="tar")
            if made.tree:
                tree.lay_over(made.tree, root)
            if not tree.write_tar(root, work / "layer.tar", made.epoch):
                raise UserError(f"container image {image.ref} has nothing in it")
            digest = oci.make(oci.Layout(workspace.oci), work / "layer.tar", _options(image), made.epoch)
        record(workspace, image.ref, digest, "made")


def _options(image: ContainerImage) -> dict[str, Any]:
    return {
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.command),
        "Env": [f"{key}={value}" for key, value in sorted(image.env.items())],
        "WorkingDir": image.workdir,
        "User": image.user,
    }
