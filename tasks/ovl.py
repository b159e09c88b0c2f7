"""ovl/<name>/ (default/, variants, packages, or a `tar` script) ──ovl:<name>──> ovl/<name>.tar + .json"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.lib import apt, choice, files, kit, proc, tree
from tasks.lib.errors import CommandError, UserError
from tasks.lib.model import Image, Overlay
from tasks.lib.paths import Site, Workspace
from tasks.lib.project import ROOT, Project, source_date_epoch


@dataclass(frozen=True)
class Recipe:
    """An overlay as it is packed in this run."""

    overlay: Overlay
    key: str  # the name of its tar in the workspace
    setup: tuple[str, ...]
    env: Mapping[str, str]  # only where a script may read it
    epoch: int
    base: str  # the image whose packages an overlay can count on


def tasks(project: Project, chosen: choice.Choice, extra: Mapping[str, Overlay]) -> kit.Tasks:
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


def plain(chosen: choice.Choice) -> choice.Choice:
    """The same without variants: what images are made of."""
    return choice.Choice(env={key: value for key, value in chosen.env.items() if key != "SETUP"})


def resolve(project: Project, name: str) -> Overlay:
    """The overlay called `name`, or the one it is an alias of."""
    overlay = project.definitions.overlays[name]
    return project.definitions.overlays[overlay.alias] if overlay.alias else overlay


def recipe(project: Project, overlay: Overlay, chosen: choice.Choice) -> Recipe:
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
    )


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
    what = kit.Recipe(
        pack,
        [made, project.site],
        deps=deps,
        inputs={"tree": [files.tree_manifest(folder) for folder in _folders(made)]},
        code=(tree, apt),
    )
    return kit.task("ovl", made.key, what, [workspace.ovl(made.key), workspace.stamp("ovl", made.key)])


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
                _run_script(made, temp, workspace) if made.overlay.script else _pack_tree(made, temp, site)
            )
        files.write_stamp(workspace.stamp("ovl", made.key), {"tar": out}, entries=entries)


def _pack_tree(made: Recipe, out: Path, site: Site) -> int:
    with files.atomic(out.with_name(f"{made.key}.tree"), directory=True) as root:
        if made.overlay.packages:
            tree.unpack(packages(made, site), root, made.overlay.drop)
        for folder in _folders(made):
            tree.lay_over(folder, root)
        for artifact in made.overlay.artifacts:
            stamp = files.read_json(site.workspace.stamp("artifact", artifact.name))
            content = site.workspace.content(stamp["sha256"])
            tree.put_file(content, root / str(artifact.dest).lstrip("/"), artifact.executable)
        entries = tree.write_tar(root, out, made.epoch)
    files.remove(out.with_name(f"{made.key}.tree"))
    if not entries and not made.overlay.allow_empty:
        raise UserError(
            f"overlay '{made.overlay.name}' has nothing in it",
            f"put files into {made.overlay.directory / 'default'}, or `allow_empty: true` into its ovl.yaml",
        )
    return entries


def packages(made: Recipe, site: Site) -> list[apt.Package]:
    """The Debian packages that go into the overlay: those that the base image does not have."""
    have = files.read_json(packages_file(site.workspace, made.base))
    installed = {str(package["name"]): str(package["version"]) for package in have["packages"]}
    archive = apt.archive(site, made.overlay.suite)
    return apt.fetch(archive, made.overlay.packages, exclude=made.overlay.exclude, installed=installed)


def _run_script(made: Recipe, out: Path, workspace: Workspace) -> int:
    """Run the overlay's `tar` script as upstream does (contract: `tar OUTFILE`), and rewrite what it made."""
    script = made.overlay.directory / "tar"
    if not os.access(script, os.X_OK):
        raise UserError(f"{script} is not executable", f"chmod +x {script}")
    log = workspace.log(f"ovl:{made.key}")
    log.unlink(missing_ok=True)
    with files.scratch(out.with_name(f"{made.key}.raw")) as raw:
        try:
            env = script_env(made.env, workspace)
            said = proc.run([str(script), str(raw)], env=env, clean_env=True, log=log)
        except CommandError as error:
            raise UserError(f"the tar script of overlay '{made.overlay.name}' failed: {error}") from error
        if not raw.is_file():
            raise UserError(f"{script} ended well but wrote nothing{_said(said)}", f"full log: {log}")
        return tree.adopt_tar(raw, out, str(script), made.epoch, allow_empty=made.overlay.allow_empty)


def script_env(env: Mapping[str, str], workspace: Workspace) -> dict[str, str]:
    """The environment of a `tar` script: the user's, with what the contract promises, and what was chosen."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or "root"
    promised = {
        "XCLUSTER": str(ROOT / "xc"),
        "XCLUSTER_WORKSPACE": str(workspace.root),
        "USER": user.replace("/", "_"),
        "HOME": os.path.expanduser("~"),
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(source_date_epoch()),
    }
    defaults = {"ARCHIVE": os.path.join(promised["HOME"], "Downloads"), "GOPATH": ""}
    return {**choice.without(os.environ), **defaults, **promised, **env}


def _said(text: str) -> str:
    lines = text.strip().splitlines()[-10:]
    return ":\n" + "\n".join(f"    {line}" for line in lines) if lines else ""
