"""An overlay as it is to be packed ──> its tar and stamp: of a tree of files, or of what a script wrote."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.base import files, locks
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.overlay import allowance, tar_script
from tasks.build.sources import requested
from tasks.build.sources.artifact import content as artifact_of
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import Overlay
from tasks.formats import capabilities, elf, inside, tree, unpack
from tasks.project.site import Site
from tasks.topology import envsettings, guest_script
from tasks.topology.schema import Topology

GUEST_TOPOLOGIES = "usr/lib/network-topology"  # in guests
LET_PASS = "let_pass"  # in the stamp: nothing but XC_OVL_ALLOW allows this tar


@dataclass(frozen=True)
class OverlayBuild:
    """An overlay as it is packed in this run."""

    overlay: Overlay
    key: str  # the name of its tar in the workspace
    setup: tuple[str, ...]
    env: Mapping[str, str]  # only where a script may read it
    epoch: int
    packages: PackageRequest | None
    libs: str  # the image whose libraries a script's programs can count on
    kernel: str = ""  # the kernel that a script compiles modules for
    topologies: tuple[Topology, ...] = ()


def folders(build: OverlayBuild) -> list[Path]:
    """The directories whose files make the overlay."""
    if build.overlay.script:
        return [build.overlay.directory]
    places = [build.overlay.directory / part for part in ("default", *build.setup)]
    return [place for place in places if place.is_dir()]


def pack(build: OverlayBuild, site: Site) -> None:
    """Pack the overlay"""
    workspace = site.workspace
    out = workspace.ovl(build.key)
    with locks.locked(out.with_suffix(".lock")):
        with files.atomic(out) as temp:
            facts = (
                _pack_script(build, temp, workspace)
                if build.overlay.script
                else _pack_tree(build, temp, site)
            )
        files.write_stamp(workspace.stamp("ovl", build.key), {"tar": out}, **facts)


def _pack_tree(build: OverlayBuild, out: Path, site: Site) -> dict[str, int]:
    with files.atomic(out.with_name(f"{build.key}.tree"), directory=True) as root:
        if build.packages and build.packages.base:
            installed = requested.built_with(site.workspace, build.packages.base.name)
            packages = requested.fetch(build.packages, site, installed)
            unpack.debs([each.path for each in packages], root, build.overlay.drop)
            tree.unmerge(root)
        _write_topologies(build, root)
        capable: dict[str, bytes] = {}
        for folder in folders(build):
            capable |= tree.lay_over(folder, root)
        (root / envsettings.FILE).unlink(missing_ok=True)  # is for scripts on the host
        with inside.Root(root) as place:
            _put_artifacts(build.overlay, place, site.workspace)
        tree.put_files(capabilities.carriers(capable, build.key), root)
        entries = tree.write_tar(root, out, build.epoch)
    files.remove(out.with_name(f"{build.key}.tree"))
    if not entries and not build.overlay.allow_empty:
        raise UserError(
            f"overlay '{build.overlay.name}' is empty",
            f"put files into {build.overlay.directory / 'default'}, or `allow_empty: true` into its ovl.yaml",
        )
    return {"entries": entries}


def _put_artifacts(overlay: Overlay, root: inside.Root, workspace: Workspace) -> None:
    """Files from outside; a program that is there under several names is there once."""
    placed: dict[tuple[str, bool], str] = {}
    for artifact in overlay.artifacts:
        content, dest = artifact_of(artifact.name, workspace), str(artifact.dest)
        _refuse_foreign(overlay, artifact.name, content)
        first = placed.setdefault((content.name, artifact.executable), dest)
        if first == dest:
            tree.put_file(content, root, dest, artifact.executable)
        else:
            root.hard_link(dest, first)


def _refuse_foreign(overlay: Overlay, name: str, content: Path) -> None:
    machine = elf.foreign(content)
    if machine:
        raise UserError(
            f"overlay '{overlay.name}': artifact '{name}' is a program for {machine}, guests are x86-64",
            "give it a source for x86-64: its file, url or build directory is for another machine",
        )


def _write_topologies(build: OverlayBuild, root: Path) -> None:
    """What guests read; a file of the same name in `default/` comes over it."""
    scripts = {
        f"{GUEST_TOPOLOGIES}/{each.name}.sh": guest_script.script(each).encode() for each in build.topologies
    }
    tree.put_files(scripts, root)


def _pack_script(build: OverlayBuild, out: Path, workspace: Workspace) -> dict[str, int]:
    """What the `tar` script wrote, rewritten as ours, and made to fit the guest."""
    overlay = build.overlay
    allowance.refuse_wrong(os.environ)
    with files.scratch(workspace.ovl(build.key).with_suffix(".raw")) as raw:
        printed = tar_script.run(overlay, build.key, raw, build.env, workspace, build.libs)
        count = tree.adopt_tar(raw, out, str(overlay.script), build.epoch, name=build.key, allow_empty=True)
    is_let_pass = tar_script.judge(overlay, printed, out, build.setup, workspace.log(f"ovl:{build.key}"))
    if build.libs:
        tar_script.fit(overlay, out, workspace, build.libs, build.epoch)
    tar_script.mark(workspace, build.key)
    return {"entries": count, **({LET_PASS: 1} if is_let_pass else {})}
