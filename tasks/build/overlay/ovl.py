"""ovl/<name>/ (default/, variants, packages, or a `tar` script) ──ovl:<name>──> ovl/<name>.tar + .json"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from tasks.base import files
from tasks.base.errors import DefinitionError
from tasks.build.overlay import allowance, overlay_tar, tar_script
from tasks.build.overlay.overlay_tar import OverlayBuild, folders
from tasks.build.sources import apt, requested
from tasks.definitions import image_chain, iso_choice
from tasks.definitions.package_request import BaseImage, PackageRequest
from tasks.definitions.schema import Image, Overlay
from tasks.engine import kit
from tasks.formats import capabilities, descent, inside, tree, unpack
from tasks.project import definition_files
from tasks.project.project import Project, source_date_epoch
from tasks.topology import guest_script
from tasks.topology.schema import Topology


def tasks(project: Project, chosen: iso_choice.IsoChoice, extra: Mapping[str, Overlay]) -> kit.Tasks:
    """One task for each overlay found, and for those of the command line (`extra`, by directory)."""
    yield kit.group("ovl", "Overlays, packed as tar files")
    for overlay in project.definitions.built(extra.values()):
        if overlay.alias:
            real = recipe(project, project.definitions.resolved(overlay), chosen)
            if project.definitions.overlays.get(overlay.name) is overlay:
                yield kit.alias("ovl", overlay.name, f"ovl:{real.key}")
            continue
        try:
            builds = [recipe(project, overlay, each) for each in (chosen, plain(chosen))]
        except DefinitionError as error:  # with what it stands on
            yield kit.refusing("ovl", overlay.name, error.problems)
            continue
        for build in {each.key: each for each in reversed(builds)}.values():
            yield _task(project, build, extra)


def plain(chosen: iso_choice.IsoChoice) -> iso_choice.IsoChoice:
    """The same without variants: what images are made of."""
    return iso_choice.IsoChoice(env={key: value for key, value in chosen.env.items() if key != "SETUP"})


def resolve(project: Project, name: str) -> Overlay:
    """The overlay called `name`, or the one it is an alias of."""
    return project.definitions.resolved(project.definitions.overlays[name])


def of_images(project: Project, images: Iterable[Image]) -> list[Overlay]:
    """The overlays that disk images are made with, in the order in which they are unpacked."""
    definitions = project.definitions
    return [definitions.resolved(definitions.own[name]) for image in images for name in image.overlays]


def recipe(project: Project, overlay: Overlay, chosen: iso_choice.IsoChoice) -> OverlayBuild:
    """How `overlay` is packed for `chosen`."""
    mine = project.definitions.overlays.get(overlay.name)
    is_listed = mine is not None and mine.directory == overlay.directory
    suffix = "" if is_listed else "-" + files.digest(overlay.directory)[:8]
    setup = tuple(part for part in chosen.setup if overlay.script or (overlay.directory / part).is_dir())
    kernel = _module_kernel(project, overlay, chosen)
    env = {**chosen.env, "__kernel": kernel, "__kver": kernel} if kernel else chosen.env
    return OverlayBuild(
        overlay,
        overlay.name + suffix + "".join(f"@{part}" for part in setup),
        setup,
        env if overlay.script else {},
        source_date_epoch(project.environ),
        _packages(project, overlay),
        _base(project).name if tar_script.takes_host_programs(overlay) else "",
        kernel,
        _topologies(project, overlay, is_listed),
    )


def module_kernels(project: Project, chosen: iso_choice.IsoChoice, extra: Mapping[str, Overlay]) -> set[str]:
    """The kernels for which scripts of overlays compile modules."""
    overlays = [*project.definitions.overlays.values(), *extra.values()]
    return {kernel for overlay in overlays if (kernel := _module_kernel(project, overlay, chosen))}


def _module_kernel(project: Project, overlay: Overlay, chosen: iso_choice.IsoChoice) -> str:
    """The cluster's kernel, if the script compiles modules and the user has no kernel trees of his own."""
    is_ours = tar_script.compiles_modules(overlay, chosen.env, project.workspace)
    return project.settings.kernel if is_ours else ""


def _base(project: Project) -> Image:
    images, name = project.definitions.images, project.settings.image
    if not image_chain.chain(images, name) and "base" not in images:
        problems = (project.definitions.lacking("image", each) for each in (name, "base"))
        raise DefinitionError([line for lines in problems for line in lines])
    return image_chain.base_image(images, name)


def _packages(project: Project, overlay: Overlay) -> PackageRequest | None:
    """The packages that go into the overlay. A `tar` script says itself what it takes."""
    if not overlay.packages or overlay.script:
        return None
    base, default = _base(project), project.settings.suite
    of_base = PackageRequest(base.suite or default, base.packages, base.exclude) if base.packages else None
    return PackageRequest(
        overlay.suite or default, overlay.packages, overlay.exclude, base=BaseImage(base.name, of_base)
    )


def _topologies(project: Project, overlay: Overlay, is_listed: bool) -> tuple[Topology, ...]:
    """Those that the overlay brings; one that only the command line names was not read with the others."""
    if is_listed:
        every = project.definitions.topologies.values()
        return tuple(each for each in every if each.directory == overlay.directory)
    problems: list[str] = []
    topologies = definition_files.read_topologies(project.root, overlay.directory, problems)
    if problems:
        raise DefinitionError(problems)
    return tuple(topologies)


def _task(project: Project, build: OverlayBuild, extra: Mapping[str, Overlay]) -> kit.Task:
    overlay, workspace = build.overlay, project.workspace
    deps = [path for folder in folders(build) for path in files.tree_files(folder)]
    deps += [workspace.stamp("artifact", artifact.name) for artifact in overlay.artifacts]
    deps += [workspace.stamp("artifact", name) for name in _programs(project, overlay)]
    deps += [Path(name) for name in overlay.reads if Path(name).is_file()]
    if build.packages and build.packages.base:
        deps.append(requested.packages_file(workspace, build.packages.base.name))
        deps.append(workspace.stamp("suite", build.packages.suite))
    if build.libs:
        deps.append(workspace.image_libs(build.libs))
    if build.kernel:
        deps.append(workspace.stamp("headers", build.kernel))
    what = kit.Recipe(
        overlay_tar.pack,
        [build, project.site],
        deps=deps,
        inputs={"tree": [files.tree_manifest(folder) for folder in folders(build)]} | _capable(build),
        code=(tree, inside, descent, unpack, capabilities, tar_script, *tar_script.CODE)
        if overlay.script
        else (tree, inside, descent, unpack, requested, apt, capabilities, guest_script),
        packages=[build.packages] if build.packages else [],
        artifacts=overlay.artifacts,
        reads=overlay.reads,
    )
    task = kit.task("ovl", build.key, what, [workspace.ovl(build.key), workspace.stamp("ovl", build.key)])
    if overlay.script:
        task["uptodate"].append(lambda task, values: _is_fresh(project, build, extra))
    return task


def _programs(project: Project, overlay: Overlay) -> list[str]:
    """The artifacts that a script takes as programs of the workspace, less what the user has put there."""
    workspace, taken = project.workspace, tar_script.workspace_programs(overlay)
    every = project.definitions.with_own() if taken else ()  # most overlays take none
    artifacts = {each.name for overlay in every for each in overlay.artifacts if each.executable}
    return [
        name
        for name in taken
        if name in artifacts
        and (workspace.stamp("artifact", name).exists() or not workspace.bin(name).exists())
    ]


def _is_fresh(project: Project, build: OverlayBuild, extra: Mapping[str, Overlay]) -> bool:
    """Whether what a script read of the host is as it was. XC_OVL_CACHE=no: nobody can know.

    A tar that nothing but XC_OVL_ALLOW allows is judged each time anew: the variable may be gone.
    """
    allowance.note_unknown(project.environ, lambda: project.definitions.with_own(extra.values()))
    if project.environ.get("XC_OVL_CACHE") == "no" or allowance.is_wrong(project.environ):
        return False
    if overlay_tar.LET_PASS in files.read_json(project.workspace.stamp("ovl", build.key)):
        return False
    return tar_script.unchanged(project.workspace, build.key)


def _capable(build: OverlayBuild) -> dict[str, str]:
    """Capabilities of files, where there are any: neither content nor mode tells of them."""
    marks = {
        str(path.relative_to(build.overlay.directory)): value.hex()
        for folder in folders(build)
        for path in files.tree_files(folder)
        if (value := capabilities.of_file(path))
    }
    return {"capabilities": files.digest(marks)} if marks else {}
