"""Debian packages and archives as values, and what xcluster.lock says of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tasks.base import patience, progress
from tasks.base.errors import UserError
from tasks.base.patience import Patience
from tasks.definitions import lockfile


@dataclass(frozen=True)
class Archive:
    """Where packages come from: a suite of a Debian archive, and where apt keeps what it knows of it."""

    suite: str
    directory: Path
    mirror: str = ""  # URL; "" = as the host's apt is set up
    offline: bool = False
    locked: Mapping[str, lockfile.Pin] = field(default_factory=dict)  # what packages have to be, by name
    timeout: float = patience.SECONDS  # seconds with next to nothing, after which a download is given up

    @property
    def options(self) -> dict[str, object]:
        """apt's own time-outs: it can say more of what it waited for, so it comes before we do."""
        seconds = max(1, int(self.timeout / 8))  # it tries four times, with pauses
        return {"Acquire::Retries": 3, **{f"Acquire::{kind}::Timeout": seconds for kind in ("http", "https")}}

    def wait(self) -> Patience:
        """The wait for a run of apt."""
        host = urlsplit(self.mirror).netloc.rpartition("@")[2]
        return Patience(host or f"the Debian archive of {self.suite}", self.timeout)


@dataclass(frozen=True)
class Package:
    """One package file, as the signed lists describe it."""

    name: str
    version: str
    sha256: str
    size: int  # bytes
    path: str  # of the downloaded .deb


def compare(archive: Archive, packages: list[Package]) -> None:
    """Raise UserError when a package is not what xcluster.lock says; say which ones it does not know."""
    lines = [
        f"{package.name}: {line}"
        for package in packages
        for line in lockfile.differences(archive.locked.get(package.name, {}), pin(package))
    ]
    if lines:
        names = " ".join(dict.fromkeys(line.partition(":")[0] for line in lines))
        text = "\n".join(f"  {line}" for line in lines)
        raise UserError(
            f"packages of {archive.suite} are not what {lockfile.FILE} says:\n{text}",
            f"if you want the new versions: xc lock --update {names}",
        )
    fresh = [package.name for package in packages if package.name not in archive.locked]
    if archive.locked and fresh:
        progress.say(f"not in {lockfile.FILE} yet: {' '.join(fresh)}; `xc lock` adds them")


def pin(package: Package) -> lockfile.Pin:
    """What xcluster.lock says of a package."""
    return {"version": package.version, "sha256": package.sha256}
