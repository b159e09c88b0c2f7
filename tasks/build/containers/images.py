"""The verb `images`: container images that are here, moved tags, and images made of a directory or a tar."""

import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.base import environment, files, output, proc, progress
from tasks.base.errors import UsageError, UserError, meant, unknown
from tasks.base.paths import Workspace
from tasks.build.containers import local_images, oci, pull
from tasks.build.overlay import ovl, tar_script
from tasks.definitions import image_reference, iso_choice
from tasks.definitions.schema import Overlay
from tasks.formats import compressed, tree
from tasks.project import actions
from tasks.project.project import After, Does, Project, source_date_epoch

ARGS = "[ls | check | update REF... | mkimage DIR|OVL|TAR | rm REF...]"
ACTIONS = {
    "ls": actions.Action(options=("o",)),
    "check": actions.Action(),
    "update": actions.Action(1, None),
    "mkimage": actions.Action(1, 1, ("tag", "entrypoint", "command", "force")),
    "rm": actions.Action(1, None),
}


def _overlay(project: Project) -> Overlay | None:
    words = project.words
    if words.verb != "images" or words.args[:1] != ("mkimage",) or len(words.args) != 2:
        return None
    name = words.args[1]
    if name not in project.definitions.overlays or "/" in name:
        return None
    return ovl.resolve(project, name)


def _key(project: Project, overlay: Overlay) -> str:
    return ovl.recipe(
        project,
        overlay,
        ovl.plain(iso_choice.IsoChoice(env=iso_choice.variables(project.environ, project.settings.prefix))),
    ).key


def _images(project: Project) -> None:
    action, names = actions.action(project.words, ACTIONS, "ls")
    if action == "ls":
        _ls(project)
    elif action == "check":
        _check(project)
    elif action == "update":
        _update(project, names)
    elif action == "mkimage":
        _mkimage(project, names[0])
    else:
        _rm(project, names)


def rows(project: Project) -> list[dict[str, Any]]:
    """Every container image that a definition lists or that is here."""
    workspace = project.workspace
    listed = pull.every(project)
    here = {
        str(stamp["name"]): stamp
        for path in workspace.pulled("x").parent.glob("*.json")
        if "name" in (stamp := files.read_json(path))
    }
    table = []
    for ref in sorted({*listed, *here}):
        stamp = here.get(ref, {})
        table.append(
            {
                "name": ref,
                "digest": stamp.get("top"),
                "size": stamp.get("size"),
                "how": stamp.get("how"),
                "used": [*(listed[ref].users if ref in listed else ()), *_clusters(workspace, ref)],
            }
        )
    return table


def _clusters(workspace: Workspace, ref: str) -> list[str]:
    stamps = sorted(workspace.stored("x").parent.glob("*.json"))
    return [f"cluster:{path.stem}" for path in stamps if ref in files.read_json(path).get("images", [])]


def _ls(project: Project) -> None:
    table = rows(project)
    if project.words.options.get("o"):
        output.as_json(table)
        return
    if not table:
        progress.say("no definition lists container images, and there are none in the workspace")
    for row in table:
        size = progress.amount(row["size"]) if row["size"] else "not here"
        sys.stdout.write(f"{row['name']:<44} {size:>10}  {row['digest'] or '-'}\n")
        sys.stdout.write(f"    used by: {', '.join(row['used']) or 'nothing'}\n")


def _check(project: Project) -> None:
    """Ask the registries which tags have moved since they were pulled."""
    moved = []
    for row in rows(project):
        reference = image_reference.parse(row["name"])
        if row["how"] != "pulled" or reference.digest:
            continue
        now = pull.resolve(reference, pull.access(project))
        if now != row["digest"]:
            moved.append(reference.text)
            sys.stdout.write(f"{reference.text} moved: it was {row['digest']}, now it is {now}\n")
    if moved:
        count = f"{len(moved)} {'tag has' if len(moved) == 1 else 'tags have'} moved"
        raise UserError(count, f"accept them: xc images update {' '.join(moved)}")


def _update(project: Project, names: Sequence[str]) -> None:
    """Resolve tags anew, and pull what they stand for now."""
    for text in names:
        reference = _parse(text)
        stamp = project.workspace.pulled(reference.text)
        if reference.local or reference.digest:
            raise UsageError(f"{reference.text} has no tag that could move")
        if not stamp.is_file():
            others = meant(reference.text, [row["name"] for row in rows(project)])
            raise UserError(
                f"{reference.text} was not pulled yet{others}", f"pull it: xc 'pull:{reference.text}'"
            )
        before = files.read_json(stamp).get("top")
        after = pull.renew(reference, pull.access(project), project.site)
        what = "is what it was:" if before == after else f"was {before}, is now"
        progress.say(f"{reference.text} {what} {after}")


def _parse(text: str) -> image_reference.Reference:
    try:
        return image_reference.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _mkimage(project: Project, source: str) -> None:
    reference, workspace = _new_name(project), project.workspace
    stamp = workspace.pulled(reference.text)
    declared = pull.every(project).get(reference.text)
    if declared and declared.image.is_made_here:
        raise UserError(
            f"{reference.text} is made by a definition: {', '.join(declared.users)}", "use another name"
        )
    if stamp.is_file() and "force" not in project.words.options:
        raise UserError(f"there is an image {reference.text} already", "--force replaces it")
    epoch = source_date_epoch(project.environ)
    with files.scratch(stamp.with_name(f"{stamp.stem}.layer")) as tar:
        _layer(project, source, tar, epoch)
        layout = oci.Layout(workspace.oci)
        digest = oci.make(layout, tar, _options(project.words.options), epoch)
    local_images.record(workspace, reference.text, digest, "made")
    progress.say(f"{reference.text} {digest}; in a definition: images: [{reference.text}]")


def _new_name(project: Project) -> image_reference.Reference:
    """From --tag=NAME:TAG. With --name beside a tag alone, that is the image's name and not the cluster's."""
    tag = project.words.options.get("tag", "")
    own = project.words.settings.get("name")
    text = tag if ":" in tag else f"{own}:{tag or 'latest'}" if own else ""
    if not text:
        raise UsageError("mkimage: give --tag=NAME:TAG", project.words.usage)
    return _parse(text if text.startswith(f"{image_reference.LOCAL}/") else f"{image_reference.LOCAL}/{text}")


def _options(options: Mapping[str, str]) -> dict[str, Any]:
    return {"Entrypoint": options.get("entrypoint", "").split(), "Cmd": options.get("command", "").split()}


def _layer(project: Project, source: str, tar: Path, epoch: int) -> None:
    """The tar of what was given: an overlay, a directory (or what its `tar` script gives), a tar."""
    path, overlay = Path(source), _overlay(project)
    if overlay:
        tree.adopt_tar(project.workspace.ovl(_key(project, overlay)), tar, source, epoch)
    elif (path / "tar").is_file() and os.access(path / "tar", os.X_OK):
        with files.scratch(tar.with_name(f"{tar.name}.raw")) as raw:
            env = environment.of_scripts({"XCLUSTER": str(project.root / "xc")})
            proc.run([str((path / "tar").resolve()), str(raw)], env=env, clean_env=True)
            if not raw.is_file():
                raise UserError(tar_script.no_tar(path / "tar", raw))
            tree.adopt_tar(raw, tar, str(path / "tar"), epoch)
    elif path.is_dir():
        with files.scratch(tar.with_name(f"{tar.name}.tree")) as root:
            root.mkdir()
            tree.lay_over(path, root)
            if not tree.write_tar(root, tar, epoch):
                raise UserError(f"{path} is empty")
    elif path.is_file() and tarfile.is_tarfile(path):
        _refuse_saved(path)
        tree.adopt_tar(path, tar, source, epoch)
    else:
        listed = project.definitions.lacking("overlay", source)
        raise UserError(f"{source} is neither a directory nor a tar. As a name: {' '.join(listed)}")


def _refuse_saved(path: Path) -> None:
    """Raise UserError for an image that was saved: as a layer it would be a tree of blobs."""
    try:
        with compressed.opened(path) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            names = {entry.name.removeprefix("./") for entry in tar}
    except (tarfile.TarError, *compressed.DAMAGED):
        return  # whoever unpacks it can say more
    for mark, kind in (("oci-layout", "an OCI archive"), ("manifest.json", "an archive of `docker save`")):
        if mark in names and ("index.json" in names or any(name.endswith("layer.tar") for name in names)):
            raise UserError(
                f"{path} is {kind}, and not the content of an image",
                f"put the image into a registry: xc registry start, then skopeo copy "
                f"{'oci' if mark == 'oci-layout' else 'docker'}-archive:{path} "
                "docker://127.0.0.1:5000/NAME:TAG --dest-tls-verify=false",
            )


def _rm(project: Project, names: Sequence[str]) -> None:
    """Forget images that no definition lists, and remove the blobs that no other image has."""
    here = {row["name"]: row for row in rows(project)}
    for text in names:
        ref = _parse(text).text
        if ref not in here or not here[ref]["digest"]:
            raise UserError(unknown("image", ref, [name for name, row in here.items() if row["digest"]]))
        if here[ref]["used"]:
            raise UserError(f"{ref} cannot be removed: it is used by {', '.join(here[ref]['used'])}")
    for text in names:
        project.workspace.pulled(_parse(text).text).unlink(missing_ok=True)
    freed = local_images.sweep(project.workspace)
    progress.say(f"{progress.amount(freed)} freed")


def _packed(project: Project, cluster: list[str]) -> list[str]:
    """`mkimage OVL` comes after the overlay is packed."""
    overlay = _overlay(project)
    return [f"ovl:{_key(project, overlay)}"] if overlay else []


DOES: Does = {"images": _images}
AFTER: After = {"images": _packed}
