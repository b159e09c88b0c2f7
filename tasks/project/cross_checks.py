"""Definitions as they were written -> those that can be used, and what is wrong with the others and why.

What is wrong with one is wrong with all that need it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from tasks.base.errors import unknown
from tasks.definitions import image_chain, settings
from tasks.definitions.schema import ContainerImage, Image, Kernel, Overlay
from tasks.definitions.setting_layers import SettingsLayer
from tasks.project.catalogue import Definitions
from tasks.project.replacements import unknown_overlay
from tasks.topology.schema import Topology

D = TypeVar("D", Kernel, Image, Overlay, Topology)
PATH = "XCLUSTER_OVLPATH"


@dataclass
class WrittenDefinition(Generic[D]):
    """A definition as a file has it: its content if that makes sense, else what is wrong."""

    label: str  # its file, as messages name it
    directory: Path
    content: D | None
    problems: list[str]


@dataclass
class Collection:
    """All that was read."""

    root: Path
    home: Path  # the overlays of the checkout
    kernels: dict[str, WrittenDefinition[Kernel]] = field(default_factory=dict)
    images: dict[str, WrittenDefinition[Image]] = field(default_factory=dict)
    overlays: dict[str, WrittenDefinition[Overlay]] = field(default_factory=dict)
    own: dict[str, WrittenDefinition[Overlay]] = field(default_factory=dict)  # as Definitions.own
    topologies: dict[str, WrittenDefinition[Topology]] = field(default_factory=dict)
    hollow: dict[str, Path] = field(default_factory=dict)  # as Definitions.hollow

    def scope(self, overlay: Overlay) -> Mapping[str, WrittenDefinition[Overlay]]:
        """The overlays that another one means by their names."""
        return self.own if overlay.directory.parent == self.home else self.overlays

    def every_overlay(self) -> list[WrittenDefinition[Overlay]]:
        """Each overlay once."""
        every = (*self.overlays.values(), *self.own.values())
        return list({written.directory: written for written in every}.values())


def judged(read: Collection) -> Definitions:
    """What can be used of all that was read."""
    images = _sound(read.images)
    for name, kernel in _sound(read.kernels).items():
        read.kernels[name].problems += _of_kernel(read, kernel)
    for name, image in images.items():
        read.images[name].problems += _of_image(read, images, image)
    for written in read.every_overlay():
        if written.content:
            written.problems += _of_overlay(read, written.label, written.content)
    _same_names(read)
    every: list[WrittenDefinition[Any]] = [
        *read.kernels.values(),
        *read.images.values(),
        *read.every_overlay(),
        *read.topologies.values(),
    ]
    faults = _faults(read)
    return Definitions(
        _usable("kernel", read.kernels, faults),
        _usable("image", read.images, faults),
        _usable("overlay", read.overlays, faults),
        tuple(dict.fromkeys(problem for written in every for problem in written.problems)),
        _usable("topology", read.topologies, faults),
        {key: tuple(dict.fromkeys(problems)) for key, problems in faults.items() if problems},
        {
            name: written.content
            for name, written in read.own.items()
            if written.content and not _of_needed(read, written)
        },
        read.home,
        read.hollow,
    )


def _sound(table: Mapping[str, WrittenDefinition[D]]) -> dict[str, D]:
    return {name: written.content for name, written in table.items() if written.content}


def _usable(
    kind: str, table: Mapping[str, WrittenDefinition[D]], faults: Mapping[tuple[str, str], list[str]]
) -> dict[str, D]:
    return {name: content for name, content in _sound(table).items() if not faults[kind, name]}


def _faults(read: Collection) -> dict[tuple[str, str], list[str]]:
    """What keeps each definition from being used."""
    faults = {("kernel", name): list(written.problems) for name, written in read.kernels.items()}
    faults |= {("topology", name): list(written.problems) for name, written in read.topologies.items()}
    for name, written in read.overlays.items():
        wrong = _of_needed(read, written)
        faults["overlay", name] = wrong + (_hides(read, name, written) if written.problems else [])
    for name, image in read.images.items():
        faults["image", name] = _of_chain(read, name, image)
    return faults


def _of_needed(read: Collection, written: WrittenDefinition[Overlay]) -> list[str]:
    """What is wrong with an overlay, and with those that have to be there for it."""
    problems, seen, left = [], set[Path](), [written]
    while left:
        each = left.pop()
        if each.directory in seen:
            continue
        seen.add(each.directory)
        problems += each.problems
        if each.content:
            scope = read.scope(each.content)
            left += [scope[name] for name in (*_above(each.content), *_of_containers(each.content.images))
                     if name in scope]  # fmt: skip
    return problems


def _of_chain(read: Collection, name: str, image: WrittenDefinition[Image]) -> list[str]:
    """What is wrong with an image, with those that it extends, and with their overlays."""
    chain = image_chain.chain(_sound(read.images), name)
    problems = list(image.problems)
    for each in chain:
        problems += read.images[each.name].problems
        problems += read.images[each.extends].problems if each.extends in read.images else []
        for overlay in (*each.overlays, *_of_containers(each.images)):
            if overlay in read.own:
                problems += _of_needed(read, read.own[overlay])
    if problems:
        used = {overlay for each in chain for overlay in each.overlays if overlay in read.own}
        problems += [line for overlay in sorted(used) for line in _hides(read, overlay, read.own[overlay])]
    return problems


def _hides(read: Collection, name: str, written: WrittenDefinition[Overlay]) -> list[str]:
    """That an overlay takes the place of the checkout's, if it does."""
    if written.directory.parent == read.home or not (read.home / name).is_dir():
        return []
    ours = _label(read.root, read.home / name)
    return [
        f"{written.directory}: it is before {ours} in {PATH}, and hides it: mend it, or give it another name"
    ]


def _label(root: Path, file: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)


def _of_kernel(read: Collection, kernel: Kernel) -> list[str]:
    label = f"kernel/{kernel.name}.yaml"
    fragments = {file.stem for file in (read.root / "kernel" / "fragments").glob("*.config")}
    problems = [
        f"{label}: {unknown('fragment', f, fragments)}" for f in kernel.fragments if f not in fragments
    ]
    missing = [p for p in kernel.patches if not (read.root / "kernel" / p).is_file()]
    return problems + [f"{label}: the patch kernel/{p} does not exist" for p in missing]


def _of_image(read: Collection, images: Mapping[str, Image], image: Image) -> list[str]:
    label = f"images/{image.name}/image.yaml"
    problems = _made_of(read, label, image, read.own)
    missing = [name for name in image.overlays if name not in read.own]
    problems += [f"{label}: {unknown_overlay(name, read.own, read.hollow)}" for name in missing]
    if image.extends and image.extends not in read.images:
        problems.append(f"{label}: {unknown('image', image.extends, images)}")
    elif image.extends and image.extends in images and images[image.extends].disk:
        problems.append(
            f"{label}: 'extends' needs an image that is built here from packages, "
            f"but {image.extends} is a 'disk'"
        )
    elif image_chain.loops(images, image.name):
        problems.append(f"{label}: 'extends' goes in a circle back to {image.name}")
    layer = SettingsLayer(f"{label}: settings: ", image.settings, above_file=False)
    problems += settings.load({}, {}, {}, layer)[1] if image.settings else []
    return problems + image_chain.unread(images, _sound(read.own), image.name)


def _of_overlay(read: Collection, label: str, overlay: Overlay) -> list[str]:
    scope = read.scope(overlay)
    problems = _made_of(read, label, overlay, scope)
    missing = [name for name in _above(overlay) if name not in scope]
    problems += [f"{label}: {unknown_overlay(name, scope, read.hollow)}" for name in missing]
    if _returns(read, overlay):
        problems.append(f"{label}: 'needs' and 'alias' lead in a circle: '{overlay.name}' needs itself")
    return problems


def _above(overlay: Overlay) -> tuple[str, ...]:
    """The overlays that have to be there for this one."""
    return (*overlay.needs, *((overlay.alias,) if overlay.alias else ()))


def _of_containers(images: Iterable[ContainerImage]) -> tuple[str, ...]:
    return tuple(image.overlay for image in images if image.overlay)


def _returns(read: Collection, overlay: Overlay) -> bool:
    """Whether an overlay needs itself, by way of what it needs or is an alias of."""
    seen, left = set[Path](), [(overlay, name) for name in _above(overlay)]
    while left:
        user, name = left.pop()
        written = read.scope(user).get(name)
        if written and written.content and written.directory not in seen:
            other = written.content
            seen.add(written.directory)
            left += [(other, each) for each in _above(other)]
    return overlay.directory in seen


def _made_of(
    read: Collection,
    label: str,
    owner: Image | Overlay,
    overlays: Mapping[str, WrittenDefinition[Overlay]],
) -> list[str]:
    """What container images are made of and is not there."""
    problems = []
    for image in owner.images:
        where = f"{label}: images: {image.ref}"
        if image.overlay and image.overlay not in overlays:
            problems.append(f"{where}: {unknown_overlay(image.overlay, overlays, read.hollow)}")
        if image.tree and not (owner.directory / image.tree).is_dir():
            problems.append(f"{where}: there is no directory {owner.directory / image.tree}")
    return problems


def _same_names(read: Collection) -> None:
    """Artifacts and container images have one name each for all: who gives one another meaning is wrong."""
    first: dict[str, tuple[object, str]] = {}

    def meet(
        written: WrittenDefinition[D], name: str, meaning: object, problem: Callable[[str], str]
    ) -> None:
        other, label = first.setdefault(name, (meaning, written.label))
        if other != meaning:
            written.problems.append(problem(label))

    ours_first = sorted(read.every_overlay(), key=lambda each: each.directory.parent != read.home)
    for kernel in read.kernels.values():
        if kernel.content and kernel.content.source:
            source = kernel.content.source
            meet(
                kernel,
                f"artifact {source.name}",
                (source.sources, source.sha256),
                _other_sources(kernel, source.name),
            )
    for overlay in ours_first:
        for artifact in overlay.content.artifacts if overlay.content else ():
            meaning = (artifact.sources, artifact.sha256)
            meet(overlay, f"artifact {artifact.name}", meaning, _other_sources(overlay, artifact.name))
    of_containers: list[WrittenDefinition[Any]] = [*ours_first, *read.images.values()]
    for each in of_containers:
        for image in each.content.images if each.content else ():
            if image.is_made_here:
                meet(each, f"image {image.ref}", (image, each.directory), _two_ways(each, image.ref))


def _other_sources(written: WrittenDefinition[D], name: str) -> Callable[[str], str]:
    return lambda other: (
        f"{written.label}: the artifact '{name}' has other sources than in {other}: "
        "give both the same `sources` and `sha256`, or one of them another name"
    )


def _two_ways(written: WrittenDefinition[D], ref: str) -> Callable[[str], str]:
    return lambda other: f"{written.label}: container image '{ref}' is made in two ways: here, and in {other}"
