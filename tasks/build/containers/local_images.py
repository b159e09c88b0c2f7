"""Container images that are here, pulled or made: their stamps, and the index of the layout that has them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.base import files, locks
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.containers import oci, platforms
from tasks.project.site import Site


class _Missing(Exception):
    """A manifest or config is not in the layout."""


@dataclass(frozen=True)
class _Reader:
    """Reads what is in the layout."""

    layout: oci.Layout

    def manifest(self, digest: str) -> Mapping[str, Any]:
        if not self.layout.has(digest):
            raise _Missing
        return self.layout.json(digest)

    def config(self, descriptor: oci.Descriptor) -> Mapping[str, Any]:
        return self.manifest(descriptor.digest)


def platform_of(layout: oci.Layout, top: str, what: str) -> str | None:
    """The manifest for our platform, when it and all its blobs are in the layout.

    Raises UserError when `what` is an image for other platforms.
    """
    try:
        digest = platforms.choose(_Reader(layout), top, what)
    except _Missing:
        return None
    return digest if oci.missing(layout, digest) == [] else None


def blobs(workspace: Workspace, ref: str) -> list[Path]:
    """The files that a recorded image consists of; none if it was never recorded, or its manifest is gone."""
    layout, stamp = oci.Layout(workspace.oci), files.read_json(workspace.pulled(ref))
    digests = [str(stamp[key]) for key in ("top", "digest") if key in stamp]
    manifest = files.read_json(layout.blob(digests[-1])) if digests else {}
    entries = [manifest.get("config"), *(manifest.get("layers") or ())]
    digests += [str(entry["digest"]) for entry in entries if isinstance(entry, dict) and "digest" in entry]
    return [layout.blob(digest) for digest in dict.fromkeys(digests)]


def record(workspace: Workspace, ref: str, top: str, how: str) -> dict[str, Any]:
    """Write the stamp of a complete image, and the layout's index."""
    layout = oci.Layout(workspace.oci)
    digest = platform_of(layout, top, ref)
    assert digest, "only complete images are recorded"
    manifest = oci.Manifest.of(layout.json(digest), digest)
    before = files.read_json(workspace.pulled(ref))
    same = before.get("top") == top and "since" in before
    stamp = {
        "name": ref,
        "top": top,
        "digest": digest,
        "size": manifest.size,
        "layers": len(manifest.layers),
        "how": how,
        "since": before["since"] if same else int(time.time()),
    }
    files.write_json(workspace.pulled(ref), stamp)
    write_index(workspace)
    return stamp


def write_index(workspace: Workspace) -> None:
    """Make the layout name all images that are recorded."""
    layout = oci.Layout(workspace.oci)
    with locks.locked(layout.root / "index.lock"):
        named = {}
        for path in sorted(workspace.pulled("x").parent.glob("*.json")):
            stamp = files.read_json(path)
            if "digest" in stamp and layout.has(stamp["digest"]):
                size = layout.blob(stamp["digest"]).stat().st_size
                media = layout.json(stamp["digest"]).get("mediaType") or oci.MANIFEST
                named[stamp["name"]] = {"mediaType": media, "digest": stamp["digest"], "size": size}
        layout.write_index(named)


def sweep(workspace: Workspace) -> int:
    """Remove blobs that no recorded image has; the bytes that were freed."""
    layout = oci.Layout(workspace.oci)
    for lock in workspace.pulled("x").parent.glob("*.lock"):
        with locks.locked(lock, wait=False, busy="an image is being pulled"):
            pass
    needed = set()
    for path in workspace.pulled("x").parent.glob("*.json"):
        stamp = files.read_json(path)
        manifest = oci.Manifest.of(layout.json(stamp["digest"]), stamp["name"])
        blobs = (manifest.config, *manifest.layers)
        needed |= {stamp["top"], stamp["digest"], *(blob.digest for blob in blobs)}
    freed = 0
    for path in layout.blob("sha256:x").parent.glob("*"):
        if f"sha256:{path.name}" not in needed:
            freed += path.stat().st_size
            path.unlink()
    write_index(workspace)
    return freed


def recorded(ref: str, site: Site) -> None:
    """Look for the image that was made here"""
    stamp = files.read_json(site.workspace.pulled(ref))
    if not stamp or not platform_of(oci.Layout(site.workspace.oci), str(stamp["top"]), ref):
        raise UserError(
            f"container image {ref} was not made yet",
            f"make it: xc images mkimage --tag={ref.partition('/')[2]} DIR; or list its parts in the "
            "definition (packages, overlay, tree)",
        )
