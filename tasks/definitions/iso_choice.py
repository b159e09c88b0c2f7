"""What an overlay ISO is made of: the words of mkcdrom and the environment that its overlays see.

It is recorded with the ISO, so that `start` after `SETUP=test xc mkcdrom etcd` keeps that variant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.base import files
from tasks.definitions import upstream_names
from tasks.definitions.setting_list import is_setting

COUNTS = ("__nvm", "__nrouters", "__ntesters")
PREFIXES = ("xcluster_", "__")
# Variables that overlays of upstream read, besides those of PREFIXES.
NAMES = (
    "SETUP", "TOPOLOGY", "TZ", "GOPATH", "ARCHIVE", "KERNELDIR", "KUBERNETESD", "USRSCTP_TOPOLOGY", "TEST",
    "MULTUS_TEST", "BASE_IMAGES", "SYSD", "STRONGSWAN_WORKSPACE", "IPERF_WORKSPACE", "SRIOV_DIR", "OVSD",
    "NODEANNOTATION_DIR", "NFQLBDIR", "NFQLB_DIR", "XCLUSTER_TMP", "XCLUSTER_HOME",
)  # fmt: skip

WITH_DEFAULT = ("ARCHIVE", "KERNELDIR", "XCLUSTER_TMP", "XCLUSTER_HOME")


@dataclass(frozen=True)
class IsoChoice:
    """Overlays by name, directory or tar file, in the order they are unpacked, and how the ISO is made."""

    words: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    label: str = "xcluster"
    cidata: str | None = None  # a directory whose files go on the ISO too
    script: str | None = None  # a file that goes on the ISO as `script`

    @property
    def setup(self) -> tuple[str, ...]:
        """The variants of overlays to use."""
        return tuple(part for part in self.env.get("SETUP", "").split(",") if part)


def variables(environ: Mapping[str, str], prefix: str = upstream_names.PREFIX) -> dict[str, str]:
    """The variables of an environment that overlays may read.

    `prefix` is what xcluster_PREFIX stands for if it is there and empty; upstream's test library exports it
    so. An empty variable that has a default with upstream is as if it were not there.
    Of the settings (`__mem` and so on) only the numbers of nodes are among them: a change of another setting
    must not pack overlays again.
    """
    named = upstream_names.as_upstream(environ).items()
    chosen = {k: v for k, v in named if _is_read(k) and (v or k not in WITH_DEFAULT)}
    if "xcluster_PREFIX" in chosen:
        chosen["xcluster_PREFIX"] = chosen["xcluster_PREFIX"] or prefix
    return chosen


def _is_read(name: str) -> bool:
    return name in NAMES or (name.startswith(PREFIXES) and not _is_ours(name))


def _is_ours(name: str) -> bool:
    return name.startswith("__") and is_setting(name[2:]) and name not in COUNTS


def without(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without the variables that a choice records."""
    return {k: v for k, v in environ.items() if not _is_read(k)}


def recorded(path: Path) -> IsoChoice | None:
    """The choice that the last mkcdrom recorded; None when there is none."""
    saved = files.read_json(path).get("choice")
    if not isinstance(saved, dict):
        return None
    return IsoChoice(**{**saved, "words": tuple(saved["words"])})


def to_json(chosen: IsoChoice) -> dict[str, Any]:
    """The choice as `recorded` reads it."""
    return {
        "words": list(chosen.words),
        "env": dict(sorted(chosen.env.items())),
        "label": chosen.label,
        "cidata": chosen.cidata,
        "script": chosen.script,
    }
