"""The places where settings are set, the one that counts least first, and how messages name a place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.definitions import upstream_names
from tasks.definitions.setting_list import is_setting


@dataclass(frozen=True)
class SettingsLayer:
    """Settings of a topology or an image; those of one node count less than one for all above it."""

    where: str
    values: Mapping[str, Any]
    above_file: bool  # counts more than xcluster.yaml


def layers(
    words: Mapping[str, str],
    environ: Mapping[str, str],
    file: Mapping[str, Any],
    others: Sequence[SettingsLayer],
) -> list[tuple[str, dict[str, Any]]]:
    """What is set at each place, with the place as it is named in problems; the last one counts most."""
    return [
        *((each.where, dict(each.values)) for each in others if not each.above_file),
        ("xcluster.yaml: ", dict(file)),
        *((each.where, dict(each.values)) for each in others if each.above_file),
        ("__", {k[2:]: v for k, v in environ.items() if v and k.startswith("__") and is_setting(k[2:])}),
        ("--", dict(words)),
    ]


def place(where: str, name: str, environ: Mapping[str, str]) -> str:
    """A setting of a layer as messages name it: as it was written."""
    if where == "__" and environ.get(upstream_names.own(name)):
        return upstream_names.own(name)
    return where + (name.replace("_", "-") if where == "--" else name)
