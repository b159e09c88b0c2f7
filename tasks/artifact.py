"""An artifact's sources, tried in order ──artifact:<name>──> cache/sha256/<hash> + artifact/<name>.json"""

import shutil
import subprocess
from pathlib import Path

from tasks.lib import apt, fetch, files, kit, proc
from tasks.lib.errors import UserError
from tasks.lib.model import Artifact, Source
from tasks.lib.paths import Site
from tasks.lib.project import Project


def tasks(project: Project) -> kit.Tasks:
    """One task for each artifact that a kernel or an overlay names."""
    yield kit.group("artifact", "Files from outside, by name")
    for artifact, base in named(project).values():
        recipe = kit.Recipe(
            get,
            [artifact, base, project.site],
            deps=[*_lists(artifact, project), *_local(artifact, base)],
            code=(fetch, apt),
        )
        yield kit.task(
            "artifact", artifact.name, recipe, [project.workspace.stamp("artifact", artifact.name)]
        )


def named(project: Project) -> dict[str, tuple[Artifact, Path]]:
    """Every artifact by name, with the directory its `file` sources are relative to."""
    found: dict[str, tuple[Artifact, Path]] = {}
    for kernel in project.definitions.kernels.values():
        if kernel.source:
            found[kernel.source.name] = (kernel.source, project.root / "kernel")
    for overlay in project.definitions.overlays.values():
        for artifact in overlay.artifacts:
            found[artifact.name] = (artifact, overlay.directory)
    return found


def _lists(artifact: Artifact, project: Project) -> set[Path]:
    suites = {source.suite or project.settings.suite for source in artifact.sources if source.deb}
    return {project.workspace.stamp("suite", suite) for suite in suites}


def _local(artifact: Artifact, base: Path) -> list[Path]:
    """Files that are sources, where they exist: a source that is not there is not the last word."""
    return [
        base / source.file for source in artifact.sources if source.file and (base / source.file).is_file()
    ]


def get(artifact: Artifact, base: Path, site: Site) -> None:
    """Fetch the artifact from the first source that has it"""
    if artifact.sha256 and site.workspace.content(artifact.sha256).is_file():
        path, origin = site.workspace.content(artifact.sha256), "cache"
    else:
        path, origin = _first(artifact, base, site)
    files.write_json(
        site.workspace.stamp("artifact", artifact.name),
        {"sha256": path.name, "size": path.stat().st_size, "source": origin},
    )


def _first(artifact: Artifact, base: Path, site: Site) -> tuple[Path, str]:
    tried = []
    for source in artifact.sources:
        try:
            return _from(source, artifact, base, site), source.text
        except UserError as error:
            tried.append(f"{source.text}: {error}")
    satisfy = (
        f"put the file at {site.workspace.content(artifact.sha256)}"
        if artifact.sha256
        else "fix one of the sources"
    )
    raise UserError(
        f"no source of artifact '{artifact.name}' has it:\n" + "\n".join(f"  {t}" for t in tried), satisfy
    )


def _from(source: Source, artifact: Artifact, base: Path, site: Site) -> Path:
    if source.url:
        expected = source.sha256 or artifact.sha256
        assert expected
        target = site.workspace.content(expected)
        if site.offline and not target.is_file():
            raise UserError("not in the cache, and --offline is set")
        fetch.download(source.url, expected, target)
        return target
    wanted = artifact.model_copy(update={"sha256": source.sha256 or artifact.sha256})
    if source.file:
        return _keep_file(base / source.file, wanted, site)
    return _from_package(source, apt.archive(site, source.suite), wanted, site)


def _keep_file(path: Path, artifact: Artifact, site: Site) -> Path:
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    return _keep(path, artifact, site, str(path))


def _keep(path: Path, artifact: Artifact, site: Site, origin: str) -> Path:
    actual = files.sha256(path)
    if artifact.sha256 not in (None, actual):
        raise UserError(f"{origin} has sha256 {actual}, expected {artifact.sha256}")
    target = site.workspace.content(actual)
    if not target.is_file():
        with files.atomic(target) as temp:
            shutil.copyfile(path, temp)
    return target


def _from_package(source: Source, archive: apt.Archive, artifact: Artifact, site: Site) -> Path:
    assert source.deb and source.member
    (everything,) = apt.alone(archive, [source.deb])
    scratch = site.workspace.cache / "member"
    with files.atomic(scratch / f"{artifact.name}-{everything.version}") as temp:
        _extract(Path(everything.path), source.member, temp)
        kept = _keep(temp, artifact, site, source.text)
    files.remove(scratch)
    return kept


def _extract(deb: Path, member: str, target: Path) -> None:
    """One file of a package, without unpacking the others."""
    with target.open("wb") as out:
        unpack = proc.pipe(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
        taker = subprocess.Popen(
            [proc.need("tar"), "-xO", "--occurrence=1", f"./{member.lstrip('/')}"],
            stdin=unpack.stdout,
            stdout=out,
            stderr=subprocess.PIPE,
        )
        assert unpack.stdout
        unpack.stdout.close()  # or the packer waits for us when tar ends early
        said = taker.communicate()[1].decode(errors="replace")
    proc.finish(unpack)
    if taker.returncode:
        raise UserError(f"{deb.name} has no file {member}: {said.strip()}")
