"""A disk image that the user names by its path ──> a definition of an image, whose nodes have that very file

The name of such an image is made from its path. What was used before is known by its stamp, so that a running
cluster can get more nodes from a shell that does not name the file.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.base import files
from tasks.base.paths import Workspace
from tasks.definitions import image_chain, upstream_names
from tasks.definitions.artifact_sources import Source
from tasks.definitions.schema import Disk, Image
from tasks.project.catalogue import Definitions


class GivenImage(Image):
    """An image that is a file of the user's, and not copied."""

    @property
    def path(self) -> Path:
        """The file."""
        assert self.disk and self.disk.sources[0].file
        return Path(self.disk.sources[0].file)


def added(definitions: Definitions, value: str, workspace: Workspace) -> Definitions:
    """The definitions, with an image for the file that `value` names, and those that were used before."""
    given = upstream_names.given_disk(value, str(workspace.root))
    paths = {given} if given else set()
    for stamp in workspace.stamp("image", "x").parent.glob(f"{upstream_names.GIVEN}*.json"):
        paths.add(str(files.read_json(stamp).get("source", "")))
    images = {image.name: image for path in paths - {""} for image in [_image(path, definitions.images)]}
    return replace(definitions, images={**definitions.images, **images}) if images else definitions


def _image(path: str, images: Mapping[str, Image]) -> GivenImage:
    """The definition. What it says of Kubernetes is as of the image that its name stands for."""
    like = upstream_names.image_name(path)
    chain = image_chain.chain(images, like)
    settings: dict[str, Any] = {key: value for each in chain for key, value in each.settings.items()}
    return GivenImage(
        name=upstream_names.given_name(path),
        directory=Path(path).parent,
        summary=f"the file {path}",
        disk=Disk(sources=(Source(file=path),)),
        kubernetes=image_chain.needs(images, like),
        settings=settings,
    )
