"""The Debian packages that recipes ask for: which these are, and their files."""

from collections.abc import Mapping
from pathlib import Path

from tasks.base import files
from tasks.base.paths import Workspace
from tasks.build.sources import apt
from tasks.build.sources.packages import Package
from tasks.definitions.package_request import BaseImage, PackageRequest
from tasks.project.site import Site


def plan(request: PackageRequest, site: Site) -> list[Package]:
    """Which packages these are by the lists that are there; nothing is downloaded.

    Raises UserError where there are no lists, or a package is not in them.
    """
    archive = apt.archive(site, request.suite)
    installed = _planned_for(request.base, site)
    return apt.planned(
        archive, request.names, exclude=request.exclude, installed=installed, alone=request.alone
    )


def fetch(request: PackageRequest, site: Site, installed: Mapping[str, str] | None = None) -> list[Package]:
    """The files of the packages, downloaded and verified, sorted by name.

    `installed` (name -> version) is what the base image was built with; default: what it would be built with.
    """
    archive = apt.archive(site, request.suite)
    if not request.names:
        return []
    if request.alone:
        return apt.alone(archive, request.names)
    there = _planned_for(request.base, site) if installed is None else installed
    return apt.fetch(archive, request.names, exclude=request.exclude, installed=there)


def _planned_for(base: BaseImage | None, site: Site) -> dict[str, str]:
    """The packages that a base image would be built with, by name."""
    request = base.packages if base else None
    return {package.name: package.version for package in plan(request, site)} if request else {}


def packages_file(workspace: Workspace, image: str) -> Path:
    """The list of packages in a base image: a stamp of its own, so that only packages touch overlays."""
    return workspace.stamp("image", f"{image}.packages")


def built_with(workspace: Workspace, image: str) -> dict[str, str]:
    """The packages that a base image was built with: name -> version."""
    packages = files.read_json(packages_file(workspace, image))["packages"]
    return {str(package["name"]): str(package["version"]) for package in packages}
