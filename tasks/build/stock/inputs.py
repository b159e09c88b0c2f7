"""Every input that definitions name: packages, artifacts, disks; what `lock`, `fetch`, `cache` go through."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tasks.base.errors import UserError
from tasks.build.kernel import kernel
from tasks.build.overlay import ovl
from tasks.build.sources import apt
from tasks.definitions.schema import Image
from tasks.project.project import Project


@dataclass(frozen=True)
class Packages:
    """What one definition asks of a suite."""

    user: str  # whose they are, as a task
    suite: str
    names: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    installed: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False  # without what they depend on

    def plan(self, project: Project) -> list[apt.Package]:
        """Which these are, from the package lists."""
        archive = apt.archive(project.site, self.suite)
        more = {"exclude": self.exclude, "installed": self.installed}
        return apt.planned(archive, self.names, alone=self.alone, **more)  # type: ignore[arg-type]

    def fetch(self, project: Project) -> list[apt.Package]:
        """Get them."""
        archive = apt.archive(project.site, self.suite)
        if self.alone:
            return apt.alone(archive, self.names)
        return apt.fetch(archive, self.names, exclude=self.exclude, installed=self.installed)


def packages(project: Project) -> Iterator[Packages]:
    """What every kernel, image, overlay and artifact asks for, in the words that their recipes use."""
    default = project.settings.suite
    for each in project.definitions.kernels.values():
        if each.prebuilt:
            user, suite = f"kernel:{each.name}", each.prebuilt.suite or default
            yield Packages(user, suite, (each.prebuilt.package,), kernel.NOT_WITH_KERNEL)
            yield Packages(user, suite, ("busybox-static",), alone=True)
        yield from _of_sources(each.source.sources if each.source else (), f"kernel:{each.name}", default)
    for image in project.definitions.images.values():
        if image.packages:
            user, suite = f"image:{image.name}", image.suite or default
            yield Packages(user, suite, image.packages, image.exclude)
            yield Packages(user, suite, tuple(image.pick), alone=True)
    base = _installed(project, ovl.base_image(project)) if project.definitions.images else {}
    for overlay in project.definitions.overlays.values():
        user = f"ovl:{overlay.name}"
        if overlay.packages:
            yield Packages(user, overlay.suite or default, overlay.packages, overlay.exclude, base)
        for artifact in overlay.artifacts:
            yield from _of_sources(artifact.sources, user, default)


def _of_sources(sources: object, user: str, default: str) -> Iterator[Packages]:
    assert isinstance(sources, tuple)
    for source in sources:
        if source.deb:
            yield Packages(user, source.suite or default, (source.deb,), alone=True)


def _installed(project: Project, image: Image) -> dict[str, str]:
    """The packages of the base image, which overlays leave out; none where the lists are not there."""
    asked = Packages("", image.suite or project.settings.suite, image.packages, image.exclude)
    try:
        return {package.name: package.version for package in asked.plan(project)}
    except UserError:
        return {}
