"""A Debian suite ──suite:<name>──> signed package lists in cache/apt/<name> + suite/<name>.json

The lists are fetched once and then stay as they are, so that everything built from them stays too;
`xc update` fetches newer ones.
"""

from collections.abc import Iterable

from tasks.base import files, progress
from tasks.build.sources import apt
from tasks.definitions import lockfile
from tasks.definitions.schema import Overlay
from tasks.engine import kit
from tasks.project.project import Does, Project
from tasks.project.site import Site


def tasks(project: Project, extra: Iterable[Overlay] = ()) -> kit.Tasks:
    """One task for each suite that a definition, the settings or an overlay of the command line name."""
    yield kit.group("suite", "Package lists of the Debian suites in use")
    for suite in suites(project, extra):
        locked = files.digest(lockfile.packages(project.site.lock, suite))
        inputs = {"mirror": project.settings.mirror, "locked": locked}
        recipe = kit.Recipe(get, [suite, project.site], inputs=inputs)
        stamp, cache = project.workspace.stamp("suite", suite), project.workspace.apt(suite)
        yield kit.task("suite", suite, recipe, [stamp], also=[cache])


def suites(project: Project, extra: Iterable[Overlay] = ()) -> list[str]:
    """Every suite in use."""
    definitions = project.definitions
    kernels, images = definitions.kernels.values(), definitions.images.values()
    overlays = definitions.with_own(extra)
    artifacts = [artifact for overlay in overlays for artifact in overlay.artifacts]
    artifacts += [kernel.source for kernel in kernels if kernel.source]
    containers = [container for overlay in overlays for container in overlay.images]
    containers += [container for image in images for container in image.images]
    named = {kernel.prebuilt.suite for kernel in kernels if kernel.prebuilt}
    named |= {source.suite for artifact in artifacts for source in artifact.sources}
    named |= {overlay.suite for overlay in overlays} | {image.suite for image in images}
    named |= {container.suite for container in containers}
    return sorted({project.settings.suite, *(suite for suite in named if suite)})


def get(suite: str, site: Site) -> None:
    """Fetch the package lists of the suite, unless they are in the cache"""
    archive = apt.archive(site, suite)
    if not apt.has_lists(archive) or site.mirror:
        apt.refresh(archive)
    _stamp(archive, site)


def _update(project: Project) -> None:
    for suite in suites(project):
        archive = apt.archive(project.site, suite)
        apt.refresh(archive)
        _stamp(archive, project.site)
        progress.say(f"package lists of {suite} are up to date")


def _stamp(archive: apt.Archive, site: Site) -> None:
    """Everything made from packages depends on it: also on what xcluster.lock wants them to be."""
    locked = {"locked": files.digest(archive.locked)} if archive.locked else {}
    lists = {"lists": apt.lists_digest(archive)}
    files.write_json(site.workspace.stamp("suite", archive.suite), {**lists, **locked})


DOES: Does = {"update": _update}
