"""What built artifacts were made from: Debian packages, sources, wheels; with licences and hashes."""

import email.parser
import io
import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tasks.base import files, proc
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.release import licences
from tasks.build.release.spdx import Component
from tasks.build.sources import apt, requested
from tasks.definitions import image_reference
from tasks.definitions.artifact_sources import Artifact
from tasks.engine import kit
from tasks.project.site import Site

# The tasks whose outcome is inside of that of another one, where they are among its dependencies.
CONTAINED = {"image": ("ovl:", "pull:"), "pull": ("ovl:",)}


def of_task(name: str, tasks: Mapping[str, kit.Task], site: Site) -> list[Component]:
    """What a build task's outcome was made of, all that is inside included; `tasks` are all, by name.

    Nothing for what is made from our own files alone.
    """
    task, noun = tasks[name], name.partition(":")[0]
    recipe = kit.recipe_of(task)
    if recipe and noun == "artifact":
        return [_artifact(recipe.args[0], site.workspace, licences.Licence())]
    if recipe is None or noun not in ("kernel", "image", "ovl", "pull"):
        return []
    packages = _of_image(name, recipe, site) if noun == "image" else _of_requests(recipe, site)
    licence = licences.Licence("GPL-2.0-only") if noun == "kernel" else licences.Licence()
    artifacts = [_artifact(each, site.workspace, licence) for each in recipe.artifacts]
    inside = [each for other in _contained(name, tasks) for each in of_task(other, tasks, site)]
    return [*packages, *artifacts, *_pulled(name, site.workspace), *inside]


def _contained(name: str, tasks: Mapping[str, kit.Task]) -> list[str]:
    """The tasks whose outcome is in that of `name`."""
    prefixes, deps = CONTAINED.get(name.partition(":")[0], ()), set(tasks[name]["file_dep"])
    return [
        other
        for other, task in tasks.items()
        if prefixes and other.startswith(prefixes) and deps.intersection(task["targets"])
    ]


def of_wheels(folder: Path) -> list[Component]:
    """The wheels that a release brings along."""
    return [_wheel(path) for path in sorted(folder.glob("*.whl"))]


def _of_requests(recipe: kit.Recipe, site: Site) -> list[Component]:
    """The Debian packages that a recipe takes."""
    components = []
    for request in recipe.packages:
        installed = requested.built_with(site.workspace, request.base.name) if request.base else None
        packages = requested.fetch(request, site, installed)
        components += [_deb(package, request.suite) for package in packages]
    return components


def _of_image(name: str, recipe: kit.Recipe, site: Site) -> list[Component]:
    """The Debian packages of a disk image, as its stamp has them."""
    suite = recipe.packages[0].suite
    folder = apt.archive(site, suite).directory / "cache" / "archives"
    components = []
    for fact in files.read_json(site.workspace.stamp("image", name.partition(":")[2]))["packages"]:
        pattern = f"{fact['name']}_{fact['version'].replace(':', '%3a')}_*.deb"
        (path, *_) = [*sorted(folder.glob(pattern)), Path()]
        package = apt.Package(fact["name"], fact["version"], fact["sha256"], 0, str(path))
        components.append(_deb(package, suite))
    return components


def _pulled(name: str, workspace: Workspace) -> list[Component]:
    """A container image that came from a registry: its layers are what others made."""
    noun, _, ref = name.partition(":")
    if noun != "pull" or image_reference.parse(ref).local:
        return []
    reference, digest = image_reference.parse(ref), str(files.read_json(workspace.pulled(ref))["digest"])
    tag = f"&tag={reference.tag}" if reference.tag else ""
    short = reference.repository.rpartition("/")[2]
    qualifiers = f"repository_url={reference.name}{tag}"
    return [Component("oci", short, digest, digest.partition(":")[2], qualifiers=qualifiers)]


def _artifact(artifact: Artifact, workspace: Workspace, licence: licences.Licence) -> Component:
    stamp = files.read_json(workspace.stamp("artifact", artifact.name))
    sha256 = str(stamp.get("sha256", ""))
    return Component("generic", artifact.name, sha256[:12] or "unknown", sha256, licence)


def _deb(package: apt.Package, suite: str) -> Component:
    path = Path(package.path)
    licence = _debian_licence(path, package.name) if path.is_file() else licences.Licence()
    architecture = path.stem.rpartition("_")[2] or "amd64"
    qualifiers = f"arch={architecture}&distro={suite}"
    return Component("deb", package.name, package.version, package.sha256, licence, qualifiers, path.name)


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


def _wheel(path: Path) -> Component:
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        if not names:
            raise UserError(f"{path} is not a wheel: it has no METADATA", "fetch it again: xc clean wheels")
        metadata = email.parser.Parser().parsestr(wheel.read(names[0]).decode(errors="replace"))
    classifiers = [each for each in metadata.get_all("Classifier", []) if each.startswith("License ::")]
    licence = licences.of_python(dict(metadata.items()), classifiers)
    return Component(
        "pypi", str(metadata["Name"]), str(metadata["Version"]), files.sha256(path), licence,
        f"file_name={path.name}", path.name,
    )  # fmt: skip
