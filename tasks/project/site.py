"""Where builds work, and where they get things from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.base import patience
from tasks.base.paths import Workspace


@dataclass(frozen=True)
class Site:
    """Where a build works and where it gets things from; this does not decide what comes out."""

    workspace: Workspace
    suite: str  # of Debian packages where a definition names none
    mirror: str = ""  # URL of a Debian archive; "" = as the host's apt is set up
    offline: bool = False
    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)  # URL prefix -> what to try first
    download_timeout: float = patience.SECONDS  # seconds with next to nothing, after which one is given up
    lock: Path | None = None  # xcluster.lock, with which what comes is compared
