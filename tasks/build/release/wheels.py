"""The Python packages of .venv ──wheels──> wheels/*.whl + wheels.json, so that a release needs no network"""

import importlib.metadata
import os
import re
import sys
import tomllib
from pathlib import Path

from tasks.base import files, locks, proc
from tasks.base.errors import CommandError, UserError
from tasks.base.patience import Patience
from tasks.engine import kit
from tasks.project.project import Project
from tasks.project.site import Site

# The Pythons that a release can be used with: those of Debian 12, Ubuntu 24.04 and Debian 13.
PYTHONS = ("3.11", "3.12", "3.13")
PIP = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_CERT",
    "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_CONFIG_FILE", "PIP_CACHE_DIR", "PIP_RETRIES", "PIP_TIMEOUT",
)  # fmt: skip
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")


def tasks(project: Project) -> kit.Tasks:
    """One task."""
    recipe = kit.Recipe(fetch, [pins(project.root / "pyproject.toml"), PYTHONS, PLATFORMS, project.site])
    workspace = project.workspace
    yield kit.task("wheels", None, recipe, [stamp(project)], also=[workspace.wheels])


def stamp(project: Project) -> Path:
    """The stamp: every wheel with its hash."""
    return project.workspace.root / "wheels.json"


def pins(pyproject: Path) -> dict[str, str]:
    """What pyproject.toml names, all that this needs, and pip: the versions that are in use here."""
    left = [*tomllib.loads(pyproject.read_text())["project"]["dependencies"], "pip"]
    versions: dict[str, str] = {}
    while left:
        requirement = left.pop()
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
        if name in versions or "extra ==" in requirement:
            continue
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # needed only with another Python, or on another system
        left += importlib.metadata.requires(name) or []
    return dict(sorted(versions.items()))


def fetch(pins: dict[str, str], pythons: tuple[str, ...], platforms: tuple[str, ...], site: Site) -> None:
    """Fetch the Python packages that a release brings along"""
    if site.offline:
        raise UserError("the Python packages are not in the workspace, and --offline is set")
    folder = site.workspace.wheels
    with locks.locked(folder.with_suffix(".lock")), files.atomic(folder, directory=True) as temp:
        for python in pythons:
            words = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", "--no-deps"]
            words += [f"--platform={platform}" for platform in platforms]
            words += [f"{name}=={version}" for name, version in pins.items()]
            try:
                proc.run([
                    sys.executable, "-I", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                    f"--dest={temp}", *words,
                ], env=_pip(), wait=Patience("the Python index", site.download_timeout))  # fmt: skip
            except CommandError as error:
                raise UserError(
                    f"pip could not fetch the packages for Python {python}: {_reason(error)}",
                    "making a release needs a network once, for the Python packages in it",
                ) from error
        for wheel in temp.iterdir():
            wheel.chmod(0o644)
    outputs = {wheel.name: wheel for wheel in sorted(folder.iterdir())}
    files.write_stamp(site.workspace.root / "wheels.json", outputs, pins=pins)


def _pip() -> dict[str, str]:
    """What of pip's variables is the user's: where packages come from."""
    return {name: os.environ[name] for name in PIP if name in os.environ}


def _reason(error: CommandError) -> str:
    wrong = [line.strip() for line in str(error).splitlines() if "ERROR" in line]
    return wrong[-1] if wrong else str(error)
