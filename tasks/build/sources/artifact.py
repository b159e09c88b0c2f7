"""An artifact's sources, tried in order ──artifact:<name>──> cache/sha256/<hash> + artifact/<name>.json

A program is in bin/<name> too, for the host.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tasks.base import files, seals
from tasks.base.errors import UsageError, UserError
from tasks.base.paths import Workspace
from tasks.build.sources import apt, download, golang, origins
from tasks.definitions import lockfile
from tasks.definitions.artifact_sources import Artifact, Source
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import Overlay
from tasks.engine import kit
from tasks.formats import archive
from tasks.project.project import Project
from tasks.project.site import Site


def tasks(project: Project, extra: Iterable[Overlay] = ()) -> kit.Tasks:
    """One task for each artifact that a kernel or an overlay names; `extra`: overlays of the command line."""
    yield kit.group("artifact", "Files from outside, by name")
    for artifact, base in named(project, extra).values():
        recipe = kit.Recipe(
            get,
            [artifact, base, project.site],
            deps=[*_lists(artifact, project), *_local(artifact, base)],
            inputs=_facts(artifact, project),
            code=(origins, download, apt, archive, golang),
            packages=_packages(artifact, project),
            keeps=_kept(artifact.name, project.workspace),
        )
        targets = [project.workspace.stamp("artifact", artifact.name)]
        targets += [project.workspace.bin(artifact.name)] if artifact.executable else []
        yield kit.task("artifact", artifact.name, recipe, targets)


def _kept(name: str, workspace: Workspace) -> Callable[[], list[Path]]:
    """The file in the cache that the stamp of an artifact names."""

    def kept() -> list[Path]:
        sha256 = files.read_json(workspace.stamp("artifact", name)).get("sha256")
        return [workspace.content(str(sha256))] if sha256 else []

    return kept


def content(name: str, workspace: Workspace) -> Path:
    """The file of an artifact that was fetched. Raises DamagedContent if it changed on the disk."""
    sha256 = str(files.read_json(workspace.stamp("artifact", name))["sha256"])
    return seals.content(workspace.content(sha256), sha256, f"artifact '{name}'")


def _facts(artifact: Artifact, project: Project) -> dict[str, object]:
    """What decides besides the definition: what is pinned, and the compiler."""
    lock = project.site.lock
    locked = {
        source.text: lockfile.of(lock, "artifacts", origins.pin_name(artifact, source))
        for source in artifact.sources
    }
    compiled = any(source.go for source in artifact.sources)
    return {"pinned": locked, **({"go": shutil.which("go")} if compiled else {})}


def named(project: Project, extra: Iterable[Overlay] = ()) -> dict[str, tuple[Artifact, Path]]:
    """Every artifact by name, with the directory its `file` sources are relative to.

    Raises UsageError when two definitions give one name to artifacts from different sources.
    """
    kernels = project.definitions.kernels.values()
    overlays = project.definitions.with_own(extra)
    uses = [(each.source, project.root / "kernel" / f"{each.name}.yaml") for each in kernels if each.source]
    uses += [(each, overlay.directory / "ovl.yaml") for overlay in overlays for each in overlay.artifacts]
    first: dict[str, tuple[Artifact, Path]] = {}
    for artifact, file in uses:
        other, place = first.setdefault(artifact.name, (artifact, file))
        if (artifact.sources, artifact.sha256) != (other.sources, other.sha256):
            raise UsageError(
                f"the artifact '{artifact.name}' has other sources in {file} than in {place}",
                "give both the same `sources` and `sha256`, or one of them another name",
            )
    return {name: (artifact, file.parent) for name, (artifact, file) in first.items()}


def _packages(artifact: Artifact, project: Project) -> list[PackageRequest]:
    """The package that each source of kind `deb` is."""
    default = project.settings.suite
    return [
        PackageRequest(source.suite or default, (source.deb,), alone=True)
        for source in artifact.sources
        if source.deb
    ]


def _lists(artifact: Artifact, project: Project) -> set[Path]:
    return {project.workspace.stamp("suite", request.suite) for request in _packages(artifact, project)}


def _local(artifact: Artifact, base: Path) -> list[Path]:
    """Files that are sources, where they exist: a source that is not there is not the last word."""
    paths: list[Path] = []
    for source in artifact.sources:
        if source.file and (base / source.file).is_file():
            paths.append(base / source.file)
        if source.go and source.go.directory:
            paths += files.tree_files(base / source.go.directory)
    return paths


def get(artifact: Artifact, base: Path, site: Site) -> None:
    """Fetch the artifact from the first source that has it"""
    _agree(artifact, site)
    path, origin, facts = _first(artifact, base, site)
    if artifact.executable:
        with files.atomic(site.workspace.bin(artifact.name)) as temp:
            shutil.copyfile(path, temp)
            temp.chmod(0o755)
    files.write_json(
        site.workspace.stamp("artifact", artifact.name),
        {"sha256": path.name, "size": path.stat().st_size, "source": origin, **facts},
    )


def _agree(artifact: Artifact, site: Site) -> None:
    """The definition and xcluster.lock must not ask for different contents."""
    for source in artifact.sources:
        expected = source.sha256 or artifact.sha256
        if expected and not source.member:
            pinned = lockfile.of(site.lock, "artifacts", origins.pin_name(artifact, source))
            lockfile.compare("artifact", artifact.name, pinned, {"sha256": expected})


def _first(artifact: Artifact, base: Path, site: Site) -> tuple[Path, str, dict[str, str]]:
    if artifact.sha256 and origins.is_cached(artifact.sha256, site):
        return site.workspace.content(artifact.sha256), "cache", {}
    tried: list[tuple[Source, UserError]] = []
    for source in artifact.sources:
        try:
            path, facts = origins.take(source, artifact, base, site)
        except lockfile.Mismatch:
            raise
        except UserError as error:
            tried.append((source, error))
            continue
        pinned = lockfile.of(site.lock, "artifacts", origins.pin_name(artifact, source))
        fixed = facts if source.go else {**facts, "sha256": path.name}
        lockfile.compare("artifact", artifact.name, pinned, fixed)
        return path, source.text, facts
    raise _failed(artifact, tried, site)


def _failed(artifact: Artifact, tried: Sequence[tuple[Source, UserError]], site: Site) -> UserError:
    """The error when no source gave the file: each with its reason; the hint of a source that is alone."""
    alone = len(tried) == 1
    lines = [f"the artifact '{artifact.name}' could not be had from any of its sources:"]
    for source, error in tried:
        place = f"{download.shown(source.text)}: "
        aside = f" ({error.hint})" if error.hint and not alone else ""
        lines.append(f"  {place}{error.message.removeprefix(place)}{aside}")
    here = artifact.sha256 and f"put the file at {site.workspace.content(artifact.sha256)}"
    steps = [step for step in (alone and tried[0][1].hint, here) if step]
    fix = "fix its source" if alone else "fix one of the sources"
    return UserError("\n".join(lines), "; or ".join(steps) or fix)
