"""Every input that recipes take: packages, artifacts, disks; what `lock`, `fetch`, `cache` go through.

The packages are read from the recipes themselves: what a build takes cannot be forgotten here.
"""

from collections.abc import Iterator, Mapping

from tasks.base.errors import DefinitionError
from tasks.build.containers import pull
from tasks.build.image import compose, rootfs
from tasks.build.kernel import headers, kernel
from tasks.build.overlay import iso, iso_words, ovl
from tasks.build.sources import artifact
from tasks.definitions.iso_choice import IsoChoice
from tasks.definitions.package_request import PackageRequest
from tasks.definitions.schema import Overlay
from tasks.engine import kit, record
from tasks.project.project import Project


def recipes(project: Project, chosen: IsoChoice, extra: Mapping[str, Overlay]) -> kit.Tasks:
    """The tasks that take Debian packages or files from outside, in the order in which they are built.

    `extra` are the overlays on the ISO, by directory: some only the command line names.
    """
    yield from artifact.tasks(project, extra.values())
    yield from kernel.tasks(project)
    yield from headers.tasks(project, ovl.module_kernels(project, chosen, extra))
    yield from compose.tasks(project, chosen)
    yield from rootfs.tasks(project, chosen)
    yield from ovl.tasks(project, chosen, extra)
    yield from pull.tasks(project, chosen, extra)


def overlays(project: Project) -> Mapping[str, Overlay]:
    """The overlays on the ISO, by directory. Raises UserError where definitions are wrong."""
    _refuse_wrong(project)
    return iso.overlays_of(iso.iso_parts(project, iso_words.choose(project)))


def packages(project: Project, extra: Mapping[str, Overlay]) -> Iterator[tuple[str, PackageRequest]]:
    """What each recipe asks for, with the name of its task; `extra` are overlays that no definition names.

    Raises UserError when definitions are wrong: then nobody knows all of it.
    """
    _refuse_wrong(project)
    for task in recipes(project, IsoChoice(), extra):
        recipe = kit.recipe_of(task)
        for request in recipe.packages if recipe else ():
            yield record.name_of(task), request


def _refuse_wrong(project: Project) -> None:
    if project.definitions.problems:
        raise DefinitionError(list(project.definitions.problems))
