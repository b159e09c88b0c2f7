"""An artifact's sources, tried in order ──artifact:<name>──> cache/sha256/<hash> + artifact/<name>.json

A program is in bin/<name> too, for the host.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tasks.base import environment, files, proc, progress, seals
from tasks.base.errors import UsageError, UserError
from tasks.base.paths import Workspace
from tasks.build.sources import apt, download, golang
from tasks.definitions import lockfile
from tasks.definitions.artifact_sources import Artifact, GoModule, Source
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
            code=(download, apt, archive, golang),
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
        source.text: lockfile.of(lock, "artifacts", pin_name(artifact, source)) for source in artifact.sources
    }
    compiled = any(source.go for source in artifact.sources)
    return {"pinned": locked, **({"go": shutil.which("go")} if compiled else {})}


def named(project: Project, extra: Iterable[Overlay] = ()) -> dict[str, tuple[Artifact, Path]]:
    """Every artifact by name, with the directory its `file` sources are relative to.

    Raises UsageError when two definitions give one name to artifacts from different sources.
    """
    kernels = project.definitions.kernels.values()
    overlays = project.definitions.built(extra)
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


Got = tuple[Path, str, dict[str, str]]  # the file, the source it is from, what else is known of it


def _agree(artifact: Artifact, site: Site) -> None:
    """The definition and xcluster.lock must not ask for different contents."""
    for source in artifact.sources:
        expected = source.sha256 or artifact.sha256
        if expected and not source.member:
            pinned = lockfile.of(site.lock, "artifacts", pin_name(artifact, source))
            lockfile.compare("artifact", artifact.name, pinned, {"sha256": expected})


def _first(artifact: Artifact, base: Path, site: Site) -> Got:
    if artifact.sha256 and _is_cached(artifact.sha256, site):
        return site.workspace.content(artifact.sha256), "cache", {}
    tried: list[tuple[Source, UserError]] = []
    for source in artifact.sources:
        try:
            path, facts = _from(source, artifact, base, site)
        except lockfile.Mismatch:
            raise
        except UserError as error:
            tried.append((source, error))
            continue
        pinned = lockfile.of(site.lock, "artifacts", pin_name(artifact, source))
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


def _is_cached(sha256: str, site: Site) -> bool:
    """Whether the cache has content of this hash. What is no such content goes."""
    path = site.workspace.content(sha256)
    if path.is_file() and not seals.is_whole(path, sha256):
        progress.say(f"{path} changed on the disk; it is fetched again")
        path.unlink()
    return path.is_file()


def pin_name(artifact: Artifact, source: Source) -> str:
    """What a source of an artifact is called in xcluster.lock: each may give another file."""
    module = source.go and source.go.module
    return f"{artifact.name} {f'go:{module}' if module else source.text}"


def _from(source: Source, artifact: Artifact, base: Path, site: Site) -> tuple[Path, dict[str, str]]:
    if source.go and source.go.directory:
        return _from_own_module(source.go, base / source.go.directory, artifact, site)
    if source.go:
        return _from_module(source.go, artifact, source, site)
    expected = artifact.model_copy(update={"sha256": source.sha256 or artifact.sha256})
    if source.url:
        path = _from_url(source, str(expected.sha256), site)
        return (_member(path, source, artifact, site) if source.member else path), {}
    if source.file and source.member:
        path = _keep_file(base / source.file, artifact.model_copy(update={"sha256": source.sha256}), site)
        return _member(path, source, artifact, site), {}
    if source.file:
        return _keep_file(base / source.file, expected, site), {}
    return _from_package(source, apt.archive(site, source.suite), expected, site)


def _from_url(source: Source, expected: str, site: Site) -> Path:
    assert source.url
    target = site.workspace.content(expected)
    if not _is_cached(expected, site) and site.offline:
        raise UserError("not in the cache, and --offline is set")
    places = download.mirrored(source.url, site.mirrors)
    download.download(places, expected, target, seconds=site.download_timeout)
    return target


def _member(path: Path, source: Source, artifact: Artifact, site: Site) -> Path:
    """A file inside an archive from outside."""
    assert source.member
    with files.scratch(site.workspace.cache / "member" / artifact.name) as temp:
        archive.extract(path, source.member, temp, source.text)
        return _keep(temp, artifact, site, f"{source.member} in {source.text}")


def _from_module(
    program: GoModule, artifact: Artifact, source: Source, site: Site
) -> tuple[Path, dict[str, str]]:
    """A command of a Go module; what it is made of is compared before and after it is built."""
    pinned = lockfile.of(site.lock, "artifacts", pin_name(artifact, source))
    version = program.version or pinned.get("version")
    if version is None:
        raise UserError(
            "no version is given for this Go module",
            f"put `version` beside `module`, or `xc lock {artifact.name}` to pin the latest",
        )
    module = golang.module(program, version, site)
    facts = {"version": module.version, "h1": module.h1}
    lockfile.compare("artifact", artifact.name, pinned, facts)
    with files.scratch(site.workspace.cache / "member" / artifact.name) as temp:
        facts["deps"] = golang.build(program, module, temp, site)
        kept = _keep(temp, artifact, site, source.text)
    return kept, facts


def _from_own_module(
    program: GoModule, directory: Path, artifact: Artifact, site: Site
) -> tuple[Path, dict[str, str]]:
    """A command of a module that lies beside the definition."""
    if not (directory / "go.mod").is_file():
        raise UserError(f"there is no Go module in {directory}")
    with files.scratch(site.workspace.cache / "member" / artifact.name) as temp:
        deps = golang.build_own(program, directory, temp, site)
        return _keep(temp, artifact, site, str(directory)), {"deps": deps}


def _keep_file(path: Path, artifact: Artifact, site: Site) -> Path:
    if not path.is_file():
        raise UserError(files.no_file(path))
    return _keep(path, artifact, site, str(path))


def _keep(path: Path, artifact: Artifact, site: Site, origin: str) -> Path:
    actual = files.sha256(path)
    if artifact.sha256 not in (None, actual):
        raise UserError(f"{origin} has sha256 {actual}, expected {artifact.sha256}")
    target = site.workspace.content(actual)
    if not _is_cached(actual, site):
        with files.atomic(target) as temp:
            shutil.copyfile(path, temp)
    return target


def _from_package(
    source: Source, suite: apt.Archive, artifact: Artifact, site: Site
) -> tuple[Path, dict[str, str]]:
    assert source.deb and source.member
    (everything,) = apt.alone(suite, [source.deb])
    scratch = site.workspace.cache / "member"
    with files.atomic(scratch / f"{artifact.name}-{everything.version}") as temp:
        _extract(Path(everything.path), source.member, temp)
        kept = _keep(temp, artifact, site, source.text)
    return kept, {"version": everything.version}


def _extract(deb: Path, member: str, target: Path) -> None:
    """One file of a package, without unpacking the others."""
    with target.open("wb") as out:
        unpack = proc.pipe(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
        taker = subprocess.Popen(
            [proc.need("tar"), "-xO", "--occurrence=1", f"./{member.lstrip('/')}"],
            stdin=unpack.stdout,
            stdout=out,
            stderr=subprocess.PIPE,
            env=environment.of_programs(),
        )
        assert unpack.stdout
        unpack.stdout.close()  # or the packer waits for us when tar ends early
        message = taker.communicate()[1].decode(errors="replace")
    proc.finish(unpack)
    if taker.returncode:
        raise UserError(f"{deb.name} has no file {member}: {message.strip()}")
