"""Definitions: every YAML file read, checked and cross-checked; all problems are found at once."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tasks.base import files
from tasks.definitions import overlay_path, versions
from tasks.definitions.complaints import causes, sentence
from tasks.definitions.schema import Image, Kernel, Overlay
from tasks.formats import yaml_core
from tasks.project import cross_checks
from tasks.project.catalogue import OVERLAYS, Definitions
from tasks.project.cross_checks import WrittenDefinition
from tasks.topology import check
from tasks.topology.schema import Topology

D = TypeVar("D", Kernel, Image, Overlay, Topology)


def load(
    root: Path, ovlpath: str = "", k8sver: str = "", environ: Mapping[str, str] | None = None
) -> Definitions:
    """Read kernel/, images/ and the overlays below `root`, and those in the directories of `ovlpath`.

    `ovlpath` is a colon list as upstream's XCLUSTER_OVLPATH (first hit wins); default: `root`/ovl. Words in
    artifacts are those of the version `k8sver` of Kubernetes, and of the environment.
    """
    read = cross_checks.Collection(root, root / OVERLAYS)
    for file in sorted((root / "kernel").glob("*.yaml")):
        read.kernels[file.stem] = _written(Kernel, root, file, name=file.stem)
    for file in sorted((root / "images").glob("*/image.yaml")):
        name = file.parent.name
        read.images[name] = _written(Image, root, file, name=name, directory=file.parent)
    _read_overlays(read, ovl_dirs(root, ovlpath), k8sver, environ or {})
    _read_topologies(read)
    return cross_checks.judged(read)


def _read_overlays(
    read: cross_checks.Collection, folders: Sequence[Path], k8sver: str, environ: Mapping[str, str]
) -> None:
    """The overlays by name; and what the checkout's definitions mean by these names."""
    of_kubernetes = [
        f / versions.FILE for f in (*folders, read.home) if not _is_foreign(read, f / "kubernetes")
    ]
    versions_file = next((file for file in of_kubernetes if file.is_file()), None)
    words = _words(read.root, versions_file, k8sver, environ)
    by_directory: dict[Path, WrittenDefinition[Overlay]] = {}

    def of(directory: Path) -> WrittenDefinition[Overlay]:
        if directory not in by_directory:
            by_directory[directory] = _overlay(read.root, directory, words)
        return by_directory[directory]

    for folder in folders:
        for directory in sorted(folder.iterdir()) if os.access(f"{folder}/.", os.R_OK) else ():
            if directory.name not in read.overlays and _is_overlay(directory):
                read.overlays[directory.name] = of(directory)
            elif directory.is_dir() and not _is_overlay(directory):
                read.hollow.setdefault(directory.name, directory)
    ours = [path for path in sorted(read.home.iterdir()) if _is_overlay(path)] if read.home.is_dir() else []
    read.own.update(read.overlays)
    for directory in ours:
        first = read.overlays.get(directory.name)
        if first is None or _is_foreign(read, first.directory):
            read.own[directory.name] = of(directory)


def _words(root: Path, file: Path | None, k8sver: str, environ: Mapping[str, str]) -> versions.VersionWords:
    """The words of the chosen version, from the first directory of overlays that has them."""
    if file is None:
        return versions.VersionWords({}, environ)
    problems: list[str] = []
    table = read_yaml(file, label(root, file), problems)
    words = versions.chosen(table, k8sver, label(root, file), problems)
    return versions.VersionWords(words, environ, tuple(problems))


def _read_topologies(read: cross_checks.Collection) -> None:
    """The topologies that overlays bring. Those of the checkout are there whatever hides their overlay."""
    places = [*read.overlays.values(), *(read.own[name] for name in read.own)]
    hidden = sorted(read.home.iterdir()) if read.home.is_dir() else []
    for directory in dict.fromkeys([*(each.directory for each in places), *hidden]):
        for file in sorted((directory / "topology").glob("*.yaml")):
            new = _topology(read.root, file)
            other = read.topologies.setdefault(file.stem, new)
            if other is not new and other.directory.name != directory.name:
                other.problems.append(f"{new.label}: there is another topology of this name: {other.label}")


def ovl_dirs(root: Path, ovlpath: str) -> list[Path]:
    """The directories that hold overlays, in the order of search."""
    return [Path(folder) for folder in overlay_path.folders(ovlpath)] or [root / "ovl"]


def _is_overlay(directory: Path) -> bool:
    """Whether it has an ovl.yaml, an executable `tar`, or a `default/` tree."""
    file = directory / "ovl.yaml"
    return file.is_file() or (directory / "tar").is_file() or (directory / "default").is_dir()


def _is_foreign(read: cross_checks.Collection, directory: Path) -> bool:
    """Whether it is an overlay of upstream's: nothing says that it was written for this project."""
    return _is_overlay(directory) and directory.parent != read.home and not (directory / "ovl.yaml").is_file()


def read_overlay(root: Path, directory: Path, problems: list[str]) -> Overlay | None:
    """The overlay in `directory`; None if there is none, or `problems` tell what is wrong with it."""
    if not _is_overlay(directory):
        return None
    written = _overlay(root, directory, versions.NONE)
    problems += written.problems
    return written.content


def _overlay(root: Path, directory: Path, words: versions.VersionWords) -> WrittenDefinition[Overlay]:
    file = directory / "ovl.yaml"
    return _written(Overlay, root, file, words, name=directory.name, directory=directory)


def read_topologies(root: Path, directory: Path, problems: list[str]) -> list[Topology]:
    """The topologies that an overlay brings, topology/*.yaml, checked."""
    every = [_topology(root, file) for file in sorted((directory / "topology").glob("*.yaml"))]
    problems += [problem for written in every for problem in written.problems]
    return [written.content for written in every if written.content]


def _topology(root: Path, file: Path) -> WrittenDefinition[Topology]:
    """One of the topologies of an overlay, which is what its directory says."""
    overlay = file.parent.parent
    written = _written(Topology, root, file, name=file.stem, directory=overlay)
    if written.content:
        written.problems += [f"{written.label}: {problem}" for problem in check.problems(written.content)]
    return written


def read_yaml(file: Path, shown: str, problems: list[str]) -> dict[str, Any]:
    """The mapping in a YAML file; empty when there is none, or when something is wrong with it.

    Keys are texts, scalars are as `yaml_core` reads them, and None stands for a key without a value.
    """
    try:
        content = files.text_bytes(file)
        value = None if content is None else yaml_core.read(content)
    except OSError as error:
        problems.append(f"{shown}: {error.strerror}")
        return {}
    except yaml_core.NotYaml as error:
        problems += [f"{shown}: {problem}" for problem in error.problems]
        return {}
    if value is not None and not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "a single value"
        problems.append(f"{shown}: expected keys and values, got {kind}")
    return {str(key): entry for key, entry in value.items()} if isinstance(value, dict) else {}


def _written(
    model: type[D], root: Path, file: Path, words: versions.VersionWords = versions.NONE, **of_place: Any
) -> WrittenDefinition[D]:
    """The definition in a file. What is wrong with it is told by where it is."""
    problems: list[str] = []
    content = _read(model, root, file, problems, words, of_place)
    return WrittenDefinition(label(root, file), of_place.get("directory", file.parent), content, problems)


def _read(
    model: type[D],
    root: Path,
    file: Path,
    problems: list[str],
    words: versions.VersionWords,
    of_place: Mapping[str, Any],
) -> D | None:
    shown = label(root, file)
    data = read_yaml(file, shown, problems)
    if "artifacts" in data:
        wrong: list[str] = []
        data["artifacts"] = words.applied(data["artifacts"], wrong, problems)
        problems += [f"{shown}: {problem}" for problem in wrong]
    problems += [
        f"{shown}: '{key}' is not a key here: it is the name of the file or directory; remove it"
        for key in data
        if key in of_place
    ]
    if problems:
        return None
    try:
        return model(**data, **of_place)
    except ValidationError as error:
        for detail in causes(error):
            of_directory = detail["loc"] == ("name",) and of_place["name"] != file.stem
            place = label(root, file.parent) if of_directory else shown
            problems.append(f"{place}: {sentence(model, detail)}")
        return None


def label(root: Path, file: Path) -> str:
    """A file as messages name it."""
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
