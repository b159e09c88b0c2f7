"""Definitions: every YAML file read, checked and cross-checked; all problems are found at once."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tasks.base import files
from tasks.base.errors import unknown
from tasks.definitions import image_chain, settings, versions
from tasks.definitions.artifact_sources import Definition
from tasks.definitions.complaints import complaint
from tasks.definitions.schema import ContainerImage, Image, Kernel, Overlay
from tasks.formats import yaml_core
from tasks.topology import check
from tasks.topology.schema import Topology

D = TypeVar("D", bound=Definition)


@dataclass(frozen=True)
class Definitions:
    """All that the user defined, by name, and what is wrong with it."""

    kernels: Mapping[str, Kernel]
    images: Mapping[str, Image]
    overlays: Mapping[str, Overlay]
    problems: tuple[str, ...]
    topologies: Mapping[str, Topology] = field(default_factory=dict)
    # Images that are made with overlays which XCLUSTER_OVLPATH lacks, and which these are.
    without: Mapping[str, str] = field(default_factory=dict)


NONE = Definitions({}, {}, {}, ())


def load(
    root: Path, ovlpath: str = "", k8sver: str = "", environ: Mapping[str, str] | None = None
) -> Definitions:
    """Read kernel/, images/ and the overlays below `root`, and those in the directories of `ovlpath`.

    `ovlpath` is a colon list as upstream's XCLUSTER_OVLPATH (first hit wins); default: `root`/ovl. Words in
    artifacts are those of the version `k8sver` of Kubernetes, and of the environment.
    """
    problems: list[str] = []
    words = versions.VersionWords(_versions(root, ovl_dirs(root, ovlpath), k8sver, problems), environ or {})
    kernels = {}
    for file in sorted((root / "kernel").glob("*.yaml")):
        kernel = _read(Kernel, root, file, problems, name=file.stem)
        if kernel:
            kernels[kernel.name] = kernel
    images = {}
    for file in sorted((root / "images").glob("*/image.yaml")):
        image = _read(Image, root, file, problems, name=file.parent.name, directory=file.parent)
        if image:
            images[image.name] = image
    overlays: dict[str, Overlay] = {}
    for folder in ovl_dirs(root, ovlpath):
        for directory in sorted(folder.iterdir()) if folder.is_dir() else ():
            hidden = directory.name in overlays
            overlay = None if hidden else read_overlay(root, directory, problems, words)
            if overlay:
                overlays[overlay.name] = overlay
    topologies = _topologies(root, overlays, problems)
    # Whoever has nothing but overlays of his own does not want our images that need others.
    without = image_chain.without(images, overlays) if ovlpath else {}
    images = {name: image for name, image in images.items() if name not in without}
    _cross_check(root, kernels, images, overlays, problems)
    return Definitions(kernels, images, overlays, tuple(problems), topologies, without)


def ovl_dirs(root: Path, ovlpath: str) -> list[Path]:
    """The directories that hold overlays, in the order of search."""
    return [Path(os.path.abspath(part)) for part in ovlpath.split(":") if part] or [root / "ovl"]


def _versions(root: Path, folders: Iterable[Path], k8sver: str, problems: list[str]) -> Mapping[str, str]:
    """The words of the chosen version, from the first directory of overlays that has them."""
    for file in (folder / versions.FILE for folder in folders):
        if file.is_file():
            table = read_yaml(file, _label(root, file), problems)
            return versions.chosen(table, k8sver, _label(root, file), problems)
    return {}


def read_overlay(
    root: Path, directory: Path, problems: list[str], words: versions.VersionWords = versions.NONE
) -> Overlay | None:
    """The overlay in `directory`: one with an ovl.yaml, an executable `tar`, or a `default/` tree."""
    file = directory / "ovl.yaml"
    if not (file.is_file() or (directory / "tar").is_file() or (directory / "default").is_dir()):
        return None
    return _read(Overlay, root, file, problems, words=words, name=directory.name, directory=directory)


def _topologies(root: Path, overlays: Mapping[str, Overlay], problems: list[str]) -> dict[str, Topology]:
    topologies: dict[str, Topology] = {}
    for overlay in overlays.values():
        for topology in read_topologies(root, overlay.directory, problems):
            other = topologies.setdefault(topology.name, topology)
            if other is not topology:
                problems.append(f"{topology.label}: there is another topology of this name: {other.label}")
    return topologies


def read_topologies(root: Path, directory: Path, problems: list[str]) -> list[Topology]:
    """The topologies that an overlay brings, topology/*.yaml, checked."""
    topologies = []
    for file in sorted((directory / "topology").glob("*.yaml")):
        topology = _read(Topology, root, file, problems, name=file.stem, directory=directory)
        if topology:
            label = _label(root, file)
            problems += [f"{label}: {problem}" for problem in check.problems(topology)]
            topologies.append(topology)
    return topologies


def read_yaml(file: Path, label: str, problems: list[str]) -> dict[str, Any]:
    """The mapping in a YAML file; empty when there is none, or when something is wrong with it.

    Keys are texts, scalars are as `yaml_core` reads them, and None stands for a key without a value.
    """
    try:
        content = files.text_bytes(file)
        value = None if content is None else yaml_core.read(content)
    except OSError as error:
        problems.append(f"{label}: {error.strerror}")
        return {}
    except yaml_core.NotYaml as error:
        problems += [f"{label}: {problem}" for problem in error.problems]
        return {}
    if value is not None and not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "a single value"
        problems.append(f"{label}: expected keys and values, got {kind}")
    return {str(key): entry for key, entry in value.items()} if isinstance(value, dict) else {}


def _read(
    model: type[D],
    root: Path,
    file: Path,
    problems: list[str],
    words: versions.VersionWords = versions.NONE,
    **of_place: Any,
) -> D | None:
    label = _label(root, file)
    before = len(problems)
    data = read_yaml(file, label, problems)
    if "artifacts" in data:
        wrong: list[str] = []
        data["artifacts"] = words.applied(data["artifacts"], wrong)
        problems += [f"{label}: {problem}" for problem in wrong]
    problems += [
        f"{label}: '{key}' is not a key here: it is the name of the file or directory; remove it"
        for key in data
        if key in of_place
    ]
    if len(problems) > before:
        return None
    try:
        return model(**data, **of_place)
    except ValidationError as error:
        for detail in _causes(error):
            of_directory = detail["loc"] == ("name",) and of_place["name"] != file.stem
            place = _label(root, file.parent) if of_directory else label
            problems.append(f"{place}: {_sentence(model, detail)}")
        return None


def _label(root: Path, file: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)


def _causes(error: ValidationError) -> list[Any]:
    """The errors less those that only follow: a list counts as empty when all its elements are wrong."""
    details = error.errors()
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(place[:-1][: len(detail["loc"])] == detail["loc"] for place in places)
    ]


def _sentence(model: type[BaseModel], detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        owner = _model_at(model, detail["loc"][:-1])
        valid = [
            field_.alias or name
            for name, field_ in owner.model_fields.items()
            if name not in ("name", "directory") or owner is not model
        ]
        parent = ".".join(str(part) for part in detail["loc"][:-1])
        return (f"{parent}: " if parent else "") + unknown("key", str(detail["loc"][-1]), valid)
    message = complaint(detail)
    if detail["type"] == "missing":
        return f"key '{where}' is missing"
    value = detail["input"]
    if detail["type"] == "value_error" and (not isinstance(value, str | int) or str(value) in message):
        return f"{where}: {message}" if where else message
    return f"{where}: {message}, got {_shown(value)}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else yaml_core.shortened(repr(value))


def _model_at(model: type[BaseModel], loc: tuple[Any, ...]) -> type[BaseModel]:
    """The model that the keys at `loc` belong to, so that an error can list its valid keys."""
    for part in loc:
        if isinstance(part, int) or part not in model.model_fields:  # of a list, or of a mapping
            continue
        models = [kind for kind in _kinds(model.model_fields[part].annotation)]
        model = models[0] if models else model
    return model


def _kinds(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for arg in get_args(annotation) for kind in _kinds(arg)]


def _cross_check(
    root: Path,
    kernels: Mapping[str, Kernel],
    images: Mapping[str, Image],
    overlays: Mapping[str, Overlay],
    problems: list[str],
) -> None:
    fragments = {file.stem for file in (root / "kernel" / "fragments").glob("*.config")}
    for kernel in kernels.values():
        label = f"kernel/{kernel.name}.yaml"
        problems += [
            f"{label}: {unknown('fragment', f, fragments)}" for f in kernel.fragments if f not in fragments
        ]
        missing = [p for p in kernel.patches if not (root / "kernel" / p).is_file()]
        problems += [f"{label}: the patch kernel/{p} does not exist" for p in missing]
    for image in images.values():
        label = f"images/{image.name}/image.yaml"
        problems += _made_of(label, image.directory, image.images, overlays)
        problems += [
            f"{label}: {unknown('overlay', o, overlays)}" for o in image.overlays if o not in overlays
        ]
        if image.extends and image.extends not in images:
            problems.append(f"{label}: {unknown('image', image.extends, images)}")
        elif image.extends and images[image.extends].disk:
            problems.append(
                f"{label}: 'extends' needs an image that is built here from packages, "
                f"but {image.extends} is a 'disk'"
            )
        elif image_chain.loops(images, image.name):
            problems.append(f"{label}: 'extends' goes in a circle back to {image.name}")
        layer = settings.SettingsLayer(f"{label}: settings: ", image.settings, above_file=False)
        problems += settings.load({}, {}, {}, layer)[1] if image.settings else []
    problems += image_chain.unread(images, overlays)
    for overlay in overlays.values():
        problems += _check_overlay(_label(root, overlay.directory / "ovl.yaml"), overlay, overlays)


def _check_overlay(label: str, overlay: Overlay, overlays: Mapping[str, Overlay]) -> list[str]:
    problems = _made_of(label, overlay.directory, overlay.images, overlays)
    problems += [f"{label}: {unknown('overlay', o, overlays)}" for o in _above(overlay) if o not in overlays]
    if _returns(overlays, overlay.name):
        problems.append(f"{label}: 'needs' and 'alias' lead in a circle: '{overlay.name}' needs itself")
    return problems


def _above(overlay: Overlay) -> tuple[str, ...]:
    """The overlays that have to be there for this one."""
    return (*overlay.needs, *((overlay.alias,) if overlay.alias else ()))


def _returns(overlays: Mapping[str, Overlay], name: str) -> bool:
    """Whether an overlay needs itself, by way of what it needs or is an alias of."""
    seen, left = set[str](), list(_above(overlays[name]))
    while left:
        other = left.pop()
        if other in overlays and other not in seen:
            seen.add(other)
            left += _above(overlays[other])
    return name in seen


def _made_of(
    label: str, directory: Path, images: Iterable[ContainerImage], overlays: Mapping[str, Overlay]
) -> list[str]:
    """What container images are made of and is not there."""
    problems = []
    for image in images:
        if image.overlay and image.overlay not in overlays:
            problems.append(f"{label}: images: {image.ref}: {unknown('overlay', image.overlay, overlays)}")
        if image.tree and not (directory / image.tree).is_dir():
            problems.append(f"{label}: images: {image.ref}: there is no directory {directory / image.tree}")
    return problems
