"""One source of an artifact ──> its file in the cache, and what is known of it."""

import shutil
import subprocess
from pathlib import Path

from tasks.base import environment, files, proc, programs, seals
from tasks.base.errors import UserError
from tasks.build.sources import apt, download, golang
from tasks.definitions import lockfile
from tasks.definitions.artifact_sources import Artifact, GoModule, Source
from tasks.formats import archive
from tasks.project.site import Site


def pin_name(artifact: Artifact, source: Source) -> str:
    """What a source of an artifact is called in xcluster.lock: each may give another file."""
    module = source.go and source.go.module
    return f"{artifact.name} {f'go:{module}' if module else source.text}"


def take(source: Source, artifact: Artifact, base: Path, site: Site) -> tuple[Path, dict[str, str]]:
    """The file of this source in the cache, and what else is known of it. Raises UserError if it has none."""
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
    if source.file or source.gobin:
        path = base / source.file if source.file else _installed(str(source.gobin))
        return _keep_file(path, expected, site), {}
    return _from_package(source, apt.archive(site, source.suite), expected, site)


def _from_url(source: Source, expected: str, site: Site) -> Path:
    assert source.url
    target = site.workspace.content(expected)
    if not is_cached(expected, site) and site.offline:
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


def _installed(name: str) -> Path:
    path = programs.of_go(name)
    if path is None:
        raise UserError(f"no program {name} in $GOPATH/bin")
    return Path(path)


def _keep_file(path: Path, artifact: Artifact, site: Site) -> Path:
    if not path.is_file():
        raise UserError(files.no_file(path))
    return _keep(path, artifact, site, str(path))


def _keep(path: Path, artifact: Artifact, site: Site, origin: str) -> Path:
    actual = files.sha256(path)
    if artifact.sha256 not in (None, actual):
        raise UserError(f"{origin} has sha256 {actual}, expected {artifact.sha256}")
    target = site.workspace.content(actual)
    if not is_cached(actual, site):
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


def is_cached(sha256: str, site: Site) -> bool:
    """Whether the cache has content of this hash. What is no such content goes."""
    return seals.has(site.workspace.content(sha256), sha256)
