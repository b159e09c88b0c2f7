"""A Debian suite ──suite:<name>──> signed package lists in cache/apt/<name> + suite/<name>.json

The lists are fetched once and then stay as they are, so that everything built from them stays too;
`xc update` fetches newer ones.
"""

from tasks.base import files, progress
from tasks.base.paths import Site
from tasks.build.sources import apt
from tasks.definitions import lockfile
from tasks.engine import kit
from tasks.project.project import Does, Project


def tasks(project: Project) -> kit.Tasks:
    """One task for each suite that a definition or the settings name."""
    yield kit.group("suite", "Package lists of the Debian suites in use")
    for suite in suites(project):
        locked = files.digest(lockfile.packages(project.site.lock, suite))
        inputs = {"mirror": project.settings.mirror, "locked": locked}
        recipe = kit.Recipe(get, [suite, project.site], inputs=inputs)
        stamp, cache = project.workspace.stamp("suite", suite), project.workspace.apt(suite)
        yield kit.task("suite", suite, recipe, [stamp], also=[cache])


def suites(project: Project) -> list[str]:
    """Every suite in use."""
    found = {project.settings.suite}
    for kernel in project.definitions.kernels.values():
        if kernel.prebuilt and kernel.prebuilt.suite:
            found.add(kernel.prebuilt.suite)
        found |= {source.suite for source in (kernel.source.sources if kernel.source else ()) if source.suite}
    for overlay in project.definitions.overlays.values():
        sources = [source for artifact in overlay.artifacts for source in artifact.sources]
        found |= {source.suite for source in sources if source.suite}
    found |= {image.suite for image in project.definitions.images.values() if image.suite}
    found |= {overlay.suite for overlay in project.definitions.overlays.values() if overlay.suite}
    listed = [image.images for image in project.definitions.images.values()]
    listed += [overlay.images for overlay in project.definitions.overlays.values()]
    found |= {each.suite for images in listed for each in images if each.suite}
    return sorted(found)


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
