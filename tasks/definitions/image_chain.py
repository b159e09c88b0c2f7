"""What an image says of settings, and what its nodes must have."""

from collections.abc import Mapping

from tasks.base.errors import DefinitionError, unknown
from tasks.base.node_names import node_name
from tasks.definitions import kubernetes
from tasks.definitions.schema import Image, Kubernetes, Overlay
from tasks.definitions.setting_layers import SettingsLayer
from tasks.definitions.settings import Settings

# As upstream's Envsettings.k8s; nodes take longer to boot, too.
USUAL: Mapping[str, int | str | bool] = {
    "kubernetes": True,
    "cgroups": True,
    "mem": 768,
    "mem1": 1024,
    "mem201": 384,
    "mem202": 384,
    "timeout": 900,
}


def layer(images: Mapping[str, Image], name: str) -> SettingsLayer | None:
    """The settings that an image, and those that it extends, ask for; None where they ask for none."""
    values: dict[str, int | str | bool] = dict(USUAL) if needs(images, name) else {}
    for image in chain(images, name):
        values |= image.settings
    return (
        SettingsLayer(f"images/{name}/image.yaml: settings: ", values, above_file=False) if values else None
    )


def needs(images: Mapping[str, Image], name: str) -> Kubernetes | None:
    """What nodes of an image with Kubernetes must have; None for an image without."""
    requirements = [image.kubernetes for image in chain(images, name) if image.kubernetes]
    return requirements[-1] if requirements else None


def too_small(images: Mapping[str, Image], chosen: Settings) -> list[str]:
    """One sentence for each size of nodes in which Kubernetes cannot run."""
    least = needs(images, chosen.image) or (Kubernetes() if chosen.kubernetes else None)
    if least is None:
        return []
    sizes = {
        (node.mem, least.control if node.number == kubernetes.CONTROL else least.mem)
        for node in chosen.nodes()
        if node.role == "vm"
    }
    return [
        f"a node of {mem} MiB is too small for Kubernetes, which needs {needed} MiB"
        + (
            f" on {node_name(kubernetes.CONTROL)}: --mem{kubernetes.CONTROL}={needed}"
            if needed == least.control
            else f": --mem={needed}"
        )
        for mem, needed in sorted(sizes)
        if mem < needed
    ]


def self_contained(images: Mapping[str, Image], name: str) -> list[Image]:
    """The part of the chain whose container images are in the disk image itself; often none."""
    part = chain(images, name)
    while part and not part[-1].self_contained:
        part.pop()
    return part


def unread(images: Mapping[str, Image], overlays: Mapping[str, Overlay], name: str) -> list[str]:
    """A sentence for a self-contained image in which no program would find the container images."""
    if not images[name].self_contained:
        return []
    names = [overlay for each in chain(images, name) for overlay in each.overlays]
    members = [overlays[overlay] for overlay in names if overlay in overlays]
    if len(members) < len(names) or any("oci" in overlay.image_stores for overlay in members):
        return []  # the others have a fault of their own, which is told
    return [f"images/{name}/image.yaml: 'self_contained' needs an overlay with `image_stores: [oci]`"]


def base_image(images: Mapping[str, Image], name: str) -> Image:
    """The image that `name` stands on: overlays leave out what it has. Raises DefinitionError without one."""
    images_below = chain(images, name) or chain(images, "base")
    if not images_below:
        raise DefinitionError([unknown("image", name, images)])
    return images_below[0]


def loops(images: Mapping[str, Image], name: str) -> bool:
    """Whether `extends` leads from this image back to one that was seen."""
    seen: set[str] = set()
    image = images.get(name)
    while image and image.name not in seen:
        seen.add(image.name)
        image = images.get(image.extends) if image.extends else None
    return image is not None


def chain(images: Mapping[str, Image], name: str) -> list[Image]:
    """The image and those that it extends, the lowest first; a chain that is wrong ends early."""
    links: list[Image] = []
    image = images.get(name)
    while image and image not in links:
        links.insert(0, image)
        image = images.get(image.extends) if image.extends else None
    return links
