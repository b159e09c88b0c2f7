"""manifests in overlays + the list of container images ──> images that pods would wait for in vain

A pod whose image is neither on the nodes nor to be pulled ends in ImagePullBackOff, minutes later. So this is
reported before the start.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tasks.base import progress
from tasks.base.errors import UserError
from tasks.definitions import image_reference, kubernetes
from tasks.definitions.schema import Overlay

IMAGE = re.compile(r"""(?:^|[\s{,-])image:\s*["']?([^\s"',}#]+)""", re.MULTILINE)


def check(
    overlays: Iterable[Overlay],
    variants: Iterable[str],
    refs: Iterable[str],
    *,
    offline: bool,
    all_known: bool = True,
) -> None:
    """UserError for images that cannot come: none is pulled offline, and nobody can pull what is made here.

    Other images are only reported; so are all if a foreign disk image may have more (not `all_known`).
    `variants` are those of SETUP, `refs` full names of the images that nodes have.
    """
    have = {image_reference.parse(ref).named for ref in refs}
    lost: dict[str, Path] = {}
    for path, reference in _references(overlays, ("default", *variants)):
        if reference.named not in have:
            lost.setdefault(reference.text, path)
    never = {
        ref: path for ref, path in lost.items() if all_known and (offline or image_reference.parse(ref).local)
    }
    if never:
        lines = "".join(f"\n  {ref}, in {path}" for ref, path in sorted(never.items()))
        raise UserError(
            f"pods would wait for container images that nodes do not have:{lines}",
            "list them under `images:` in an ovl.yaml, or start without --offline",
        )
    for ref, path in sorted(lost.items()):
        unless = "" if all_known else " unless it is in the disk image"
        progress.say(
            f"note: nodes have to pull {ref} (in {path}){unless}: no overlay lists it under `images:`"
        )


def _references(
    overlays: Iterable[Overlay], trees: Sequence[str]
) -> Iterator[tuple[Path, image_reference.Reference]]:
    """The images in the manifests of these overlays. A variable in the place of a name is left out."""
    for overlay in overlays:
        folders = [overlay.directory / tree / kubernetes.FOLDER for tree in trees]
        for path in sorted(path for folder in folders for path in folder.glob("**/*.yaml")):
            for word in IMAGE.findall(path.read_text(errors="replace")):
                try:
                    yield path, image_reference.parse(word)
                except ValueError:
                    continue
