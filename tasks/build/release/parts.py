"""What built artifacts were made from: Debian packages, sources, wheels; with licences and hashes."""

import email.parser
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.base.paths import Site, Workspace
from tasks.build.kernel import kernel
from tasks.build.overlay import ovl
from tasks.build.release import licences
from tasks.build.release.spdx import Part
from tasks.build.sources import apt
from tasks.definitions.artifact_sources import Artifact
from tasks.definitions.schema import Kernel
from tasks.engine import kit


def of_task(name: str, task: kit.Task, site: Site) -> list[Part]:
    """The parts of what a build task made; none for what is made from our own files alone."""
    noun, _, rest = name.partition(":")
    made = task["meta"]["config"]["args"][0]
    if noun == "kernel":
        return _of_kernel(made, site)
    if noun == "image":
        facts = files.read_json(site.workspace.stamp("image", rest))["packages"]
        return [_deb(package, site) for package in _found(facts, site, made.base.suite)]
    if noun == "ovl":
        packages = ovl.packages(made, site) if made.overlay.packages else []
        sources = [_source(each, site.workspace, licences.Licence()) for each in made.overlay.artifacts]
        return [*(_deb(package, site) for package in packages), *sources]
    return []


def of_wheels(folder: Path) -> list[Part]:
    """The wheels that a release brings along."""
    return [_wheel(path) for path in sorted(folder.glob("*.whl"))]


def _of_kernel(made: Kernel, site: Site) -> list[Part]:
    if made.source:
        return [_source(made.source, site.workspace, licences.Licence("GPL-2.0-only"))]
    assert made.prebuilt
    archive = apt.archive(site, made.prebuilt.suite)
    packages = apt.fetch(archive, [made.prebuilt.package], exclude=kernel.NOT_WITH_KERNEL)
    return [_deb(package, site) for package in [*packages, *apt.alone(archive, ["busybox-static"])]]


def _source(artifact: Artifact, workspace: Workspace, licence: licences.Licence) -> Part:
    stamp = files.read_json(workspace.stamp("artifact", artifact.name))
    sha256 = str(stamp.get("sha256", ""))
    return Part("generic", artifact.name, sha256[:12] or "unknown", sha256, licence)


def _found(facts: Iterable[Mapping[str, str]], site: Site, suite: str | None) -> list[apt.Package]:
    """Packages of a stamp, with their files in the cache."""
    folder = apt.archive(site, suite).directory / "cache" / "archives"
    found = []
    for fact in facts:
        name = f"{fact['name']}_{fact['version'].replace(':', '%3a')}_*.deb"
        (path, *_) = [*sorted(folder.glob(name)), Path()]
        found.append(apt.Package(fact["name"], fact["version"], fact["sha256"], 0, str(path)))
    return found


def _deb(package: apt.Package, site: Site) -> Part:
    path = Path(package.path)
    licence = _debian_licence(path, package.name) if path.is_file() else licences.Licence()
    architecture = path.stem.rpartition("_")[2] or "amd64"
    qualifiers = f"arch={architecture}&distro={site.suite}"
    return Part("deb", package.name, package.version, package.sha256, licence, qualifiers, path.name)


@cache
def _debian_licence(deb: Path, name: str) -> licences.Licence:
    """The licence by the package's copyright file; by its source's where that stands in another package."""
    with tarfile.open(fileobj=io.BytesIO(proc.output(["dpkg-deb", "--fsys-tarfile", deb]))) as tar:
        members = {member.name: member for member in tar}
        folder = members.get(f"./usr/share/doc/{name}")
        owner = Path(folder.linkname).name if folder and folder.issym() else name
        member = members.get(f"./usr/share/doc/{owner}/copyright")
        if member and member.issym():
            member = members.get(f"./usr/share/doc/{Path(member.linkname).parent.name}/copyright")
        content = tar.extractfile(member) if member and member.isfile() else None
        if content:
            return licences.of_copyright(name, content.read().decode(errors="replace"))
    if owner != name:
        for other in sorted(deb.parent.glob(f"{owner}_*.deb")):
            return _debian_licence(other, owner)
    return licences.Licence(comment="the package has no copyright file")


def _wheel(path: Path) -> Part:
    with zipfile.ZipFile(path) as wheel:
        found = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        if not found:
            raise UserError(f"{path} is no wheel: it has no METADATA", "xc clean wheels")
        said = email.parser.Parser().parsestr(wheel.read(found[0]).decode(errors="replace"))
    classifiers = [each for each in said.get_all("Classifier", []) if each.startswith("License ::")]
    licence = licences.of_python(dict(said.items()), classifiers)
    return Part(
        "pypi", str(said["Name"]), str(said["Version"]), files.sha256(path), licence,
        f"file_name={path.name}", path.name,
    )  # fmt: skip
