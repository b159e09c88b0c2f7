"""ovl/<name>/ (default/, variants, packages, or a `tar` script) ──ovl:<name>──> ovl/<name>.tar + .json"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.base import files
from tasks.base.errors import DefinitionError, UserError
from tasks.base.paths import Site, Workspace
from tasks.build.overlay import host_libraries, tar_script
from tasks.build.sources import apt
from tasks.definitions import iso_choice
from tasks.definitions.schema import Image, Overlay
from tasks.engine import kit
from tasks.formats import capabilities, elf, tree
from tasks.project import definition_files
from tasks.project.project import Project, source_date_epoch
from tasks.topology import guest_script
from tasks.topology.schema import Topology

GUEST_TOPOLOGIES = "usr/lib/network-topology"  # in guests


@dataclass(frozen=True)
class Recipe:
    """An overlay as it is packed in this run."""

    overlay: Overlay
    key: str  # the name of its tar in the workspace
    setup: tuple[str, ...]
    env: Mapping[str, str]  # only where a script may read it
    epoch: int
    base: str  # the image whose packages an overlay can count on
    libs: str  # the image whose libraries a script's programs can count on
    topologies: tuple[Topology, ...] = ()


def tasks(project: Project, chosen: iso_choice.Choice, extra: Mapping[str, Overlay]) -> kit.Tasks:
    """One task for each overlay found, and for those of the command line (`extra`, by directory)."""
    yield kit.group("ovl", "Overlays, packed as tar files")
    known = {str(overlay.directory): overlay for overlay in project.definitions.overlays.values()}
    for overlay in {**known, **extra}.values():
        if overlay.alias:
            yield kit.alias("ovl", overlay.name, f"ovl:{overlay.alias}")
            continue
        recipes = [recipe(project, overlay, each) for each in (chosen, plain(chosen))]
        for made in {made.key: made for made in reversed(recipes)}.values():
            yield _task(project, made)


def plain(chosen: iso_choice.Choice) -> iso_choice.Choice:
    """The same without variants: what images are made of."""
    return iso_choice.Choice(env={key: value for key, value in chosen.env.items() if key != "SETUP"})


def resolve(project: Project, name: str) -> Overlay:
    """The overlay called `name`, or the one it is an alias of."""
    overlay = project.definitions.overlays[name]
    return project.definitions.overlays[overlay.alias] if overlay.alias else overlay


def of_images(project: Project, images: Iterable[Image]) -> list[Overlay]:
    """The overlays that disk images are made with, in the order in which they are unpacked."""
    return [resolve(project, name) for image in images for name in image.overlays]


def recipe(project: Project, overlay: Overlay, chosen: iso_choice.Choice) -> Recipe:
    """How `overlay` is packed for `chosen`."""
    mine = project.definitions.overlays.get(overlay.name)
    known = mine is not None and mine.directory == overlay.directory
    suffix = "" if known else "-" + files.digest(overlay.directory)[:8]
    setup = tuple(part for part in chosen.setup if overlay.script or (overlay.directory / part).is_dir())
    return Recipe(
        overlay,
        overlay.name + suffix + "".join(f"@{part}" for part in setup),
        setup,
        chosen.env if overlay.script else {},
        source_date_epoch(project.environ),
        base_image(project).name if overlay.packages else "",
        base_image(project).name if tar_script.takes_host_programs(overlay) else "",
        _topologies(project, overlay, known),
    )


def _topologies(project: Project, overlay: Overlay, known: bool) -> tuple[Topology, ...]:
    """Those that the overlay brings; one that only the command line names was not read with the others."""
    if known:
        every = project.definitions.topologies.values()
        return tuple(each for each in every if each.directory == overlay.directory)
    problems: list[str] = []
    found = definition_files.read_topologies(project.root, overlay.directory, problems)
    if problems:
        raise DefinitionError(problems)
    return tuple(found)


def base_image(project: Project) -> Image:
    """The image that the cluster's image stands on: overlays leave out what it has."""
    images = project.definitions.images
    image = images.get(project.settings.image) or images["base"]
    while image.extends:
        image = images[image.extends]
    return image


def packages_file(workspace: Workspace, image: str) -> Path:
    """The list of packages in a base image: a stamp of its own, so that only packages touch overlays."""
    return workspace.stamp("image", f"{image}.packages")


def _task(project: Project, made: Recipe) -> kit.Task:
    overlay, workspace = made.overlay, project.workspace
    deps = [path for folder in _folders(made) for path in files.tree_files(folder)]
    deps += [workspace.stamp("artifact", artifact.name) for artifact in overlay.artifacts]
    deps += [Path(name) for name in overlay.reads if Path(name).is_file()]
    if overlay.packages:
        deps += [
            packages_file(workspace, made.base),
            workspace.stamp("suite", overlay.suite or project.site.suite),
        ]
    if made.libs:
        deps.append(workspace.image_libs(made.libs))
    what = kit.Recipe(
        pack,
        [made, project.site],
        deps=deps,
        inputs={"tree": [files.tree_manifest(folder) for folder in _folders(made)]} | _capable(made),
        code=(tree, capabilities, tar_script, host_libraries)
        if overlay.script
        else (tree, apt, capabilities, guest_script),
    )
    task = kit.task("ovl", made.key, what, [workspace.ovl(made.key), workspace.stamp("ovl", made.key)])
    if overlay.script:
        task["uptodate"].append(lambda task, values: _is_fresh(project, made))
    return task


def _is_fresh(project: Project, made: Recipe) -> bool:
    """Whether what a script read of the host is as it was. XC_OVL_CACHE=no: nobody can know."""
    if project.environ.get("XC_OVL_CACHE") == "no":
        return False
    return tar_script.unchanged(project.workspace, made.key)


def _capable(made: Recipe) -> dict[str, str]:
    """Capabilities of files, where there are any: neither content nor mode tells of them."""
    found = {
        str(path.relative_to(made.overlay.directory)): value.hex()
        for folder in _folders(made)
        for path in files.tree_files(folder)
        if (value := capabilities.of_file(path))
    }
    return {"capabilities": files.digest(found)} if found else {}


def _folders(made: Recipe) -> list[Path]:
    """The directories whose files make the overlay."""
    if made.overlay.script:
        return [made.overlay.directory]
    folders = [made.overlay.directory / part for part in ("default", *made.setup)]
    return [folder for folder in folders if folder.is_dir()]


def pack(made: Recipe, site: Site) -> None:
    """Pack the overlay"""
    workspace = site.workspace
    out = workspace.ovl(made.key)
    with files.locked(out.with_suffix(".lock")):
        with files.atomic(out) as temp:
            entries = (
                _pack_script(made, temp, workspace) if made.overlay.script else _pack_tree(made, temp, site)
            )
        files.write_stamp(workspace.stamp("ovl", made.key), {"tar": out}, entries=entries)


def _pack_tree(made: Recipe, out: Path, site: Site) -> int:
    with files.atomic(out.with_name(f"{made.key}.tree"), directory=True) as root:
        if made.overlay.packages:
            tree.unpack([each.path for each in packages(made, site)], root, made.overlay.drop)
            tree.unmerge(root)
        _write_topologies(made, root)
        capable: dict[str, bytes] = {}
        for folder in _folders(made):
            capable |= tree.lay_over(folder, root)
        _put_artifacts(made.overlay, root, site.workspace)
        tree.put_files(capabilities.carriers(capable, made.key), root)
        entries = tree.write_tar(root, out, made.epoch)
    files.remove(out.with_name(f"{made.key}.tree"))
    if not entries and not made.overlay.allow_empty:
        raise UserError(
            f"overlay '{made.overlay.name}' has nothing in it",
            f"put files into {made.overlay.directory / 'default'}, or `allow_empty: true` into its ovl.yaml",
        )
    return entries


def _put_artifacts(overlay: Overlay, root: Path, workspace: Workspace) -> None:
    """Files from outside; a program that is there under several names is there once."""
    placed: dict[tuple[str, bool], Path] = {}
    for artifact in overlay.artifacts:
        sha256 = str(files.read_json(workspace.stamp("artifact", artifact.name))["sha256"])
        _refuse_foreign(overlay, artifact.name, workspace.content(sha256))
        target = root / str(artifact.dest).lstrip("/")
        first = placed.setdefault((sha256, artifact.executable), target)
        if first == target:
            tree.put_file(workspace.content(sha256), target, artifact.executable)
        else:
            tree.link_file(first, target)


def _refuse_foreign(overlay: Overlay, name: str, content: Path) -> None:
    machine = elf.foreign(content)
    if machine:
        raise UserError(
            f"overlay '{overlay.name}': artifact '{name}' is a program for {machine}, guests are x86-64",
            "give it a source for x86-64: its file, url or build directory is for another machine",
        )


def _write_topologies(made: Recipe, root: Path) -> None:
    """What guests read; a file of the same name in `default/` comes over it."""
    scripts = {
        f"{GUEST_TOPOLOGIES}/{each.name}.sh": guest_script.script(each).encode() for each in made.topologies
    }
    tree.put_files(scripts, root)


def packages(made: Recipe, site: Site) -> list[apt.Package]:
    """The Debian packages that go into the overlay: those that the base image does not have."""
    have = files.read_json(packages_file(site.workspace, made.base))
    installed = {str(package["name"]): str(package["version"]) for package in have["packages"]}
    archive = apt.archive(site, made.overlay.suite)
    return apt.fetch(archive, made.overlay.packages, exclude=made.overlay.exclude, installed=installed)


def _pack_script(made: Recipe, out: Path, workspace: Workspace) -> int:
    """What the `tar` script wrote, rewritten as ours, and made to fit the guest."""
    overlay = made.overlay
    empty = "empty" in tar_script.allowed(overlay, os.environ)
    with files.scratch(workspace.ovl(made.key).with_suffix(".raw")) as raw:
        tar_script.run(overlay, made.key, raw, made.env, workspace, made.libs)
        count = tree.adopt_tar(raw, out, str(overlay.script), made.epoch, name=made.key, allow_empty=empty)
    if made.libs:
        tar_script.fit(overlay, out, workspace, made.libs, made.epoch)
    tar_script.mark(workspace, made.key)
    return count
