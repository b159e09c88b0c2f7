"""The definitions by name: those that can be used, and what is wrong with each of the others.

A definition that nobody asks for stops nobody: who asks for one that is wrong gets told by `lacking`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.base.errors import unknown
from tasks.definitions.schema import Image, Kernel, Overlay
from tasks.project.replacements import elsewhere, unknown_overlay
from tasks.topology.schema import Topology

OVERLAYS = "ovl"  # the directory of the checkout's own


@dataclass(frozen=True)
class Definitions:
    """All that can be used, by name, and what is wrong with the rest."""

    kernels: Mapping[str, Kernel]
    images: Mapping[str, Image]
    overlays: Mapping[str, Overlay]  # of the directories of overlays, the first that has the name
    problems: tuple[str, ...]  # with any definition
    topologies: Mapping[str, Topology] = field(default_factory=dict)
    # ("kernel", "image", "overlay" or "topology", its name) -> what is wrong with it, and with what it needs.
    faults: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    # What definitions of the checkout mean by the names of overlays: a user's overlay takes the place of one
    # of the checkout there if it has an ovl.yaml. One of upstream, that only has the name, does not.
    own: Mapping[str, Overlay] = field(default_factory=dict)
    home: Path = Path(OVERLAYS)  # the overlays of the checkout
    # Directories among the overlays that have nothing which makes an overlay of them, by name.
    hollow: Mapping[str, Path] = field(default_factory=dict)

    def lacking(self, kind: str, name: str) -> list[str]:
        """Why there is no such definition to use; nothing if there is one."""
        tables: Mapping[str, Mapping[str, object]] = {
            "kernel": self.kernels,
            "image": self.images,
            "overlay": self.overlays,
            "topology": self.topologies,
        }
        if name in tables[kind]:
            return []
        here = tables[kind]
        others = [each for each, table in tables.items() if name in table]
        if others:
            says = elsewhere(kind, name, others)
        elif kind == "overlay":
            says = unknown_overlay(name, here, self.hollow)
        else:
            says = unknown(kind, name, here)
        return list(self.faults.get((kind, name), ())) or [says]

    def is_unknown(self, kind: str, name: str) -> bool:
        """Whether there is no definition of this name, not even one that is wrong."""
        return bool(self.lacking(kind, name)) and (kind, name) not in self.faults

    def meant_by(self, overlay: Overlay) -> Mapping[str, Overlay]:
        """The overlays that another one means by their names."""
        return self.seen_from(overlay.directory)

    def seen_from(self, directory: Path) -> Mapping[str, Overlay]:
        """The overlays that a definition in this directory means by their names."""
        ours = directory.parent in (self.home, self.home.parent / "images")
        return self.own if ours else self.overlays

    def lacks(self, overlay: Overlay) -> list[str]:
        """What an overlay needs and cannot have, if it was not read with the others."""
        names = [*overlay.needs, overlay.alias, *(image.overlay for image in overlay.images)]
        meant, file = self.meant_by(overlay), overlay.directory / "ovl.yaml"
        missing = [name for name in names if name and name not in meant]
        return [f"{file}: {line}" for name in missing for line in self.lacking("overlay", name)]

    def resolved(self, overlay: Overlay) -> Overlay:
        """The overlay, or the one that it is an alias of."""
        while overlay.alias:  # an alias may be of an alias; never in a circle
            overlay = self.meant_by(overlay)[overlay.alias]
        return overlay

    def built(self, extra: Iterable[Overlay] = ()) -> list[Overlay]:
        """The overlays to make tasks of: those by name, `extra`, and what disk and container images take."""
        of_images = [self.own[name] for image in self.images.values() for name in image.overlays]
        overlays = [*self.overlays.values(), *extra, *of_images, *map(self.resolved, of_images)]
        owners = [(each.directory, each.images) for each in overlays]
        owners += [(each.directory, each.images) for each in self.images.values()]
        for directory, images in owners:
            taken = [self.seen_from(directory)[image.overlay] for image in images if image.overlay]
            overlays += [*taken, *map(self.resolved, taken)]
        return list({overlay.directory: overlay for overlay in overlays}.values())

    def with_own(self, extra: Iterable[Overlay] = ()) -> list[Overlay]:
        """As `built`, and all of the checkout: scripts count on the programs of its artifacts."""
        return self.built((*extra, *self.own.values()))

    def passed_over(self, overlay: Overlay) -> Path | None:
        """The directory that has the name of this overlay of the checkout, and is not used in its place."""
        first = self.overlays.get(overlay.name)
        is_ours = overlay.directory.parent == self.home
        return first.directory if first and is_ours and first.directory != overlay.directory else None


NONE = Definitions({}, {}, {}, ())
