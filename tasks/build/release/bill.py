"""What is in a release and where it comes from: bill of materials (SPDX), provenance (in-toto, SLSA)."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.base import files
from tasks.base.paths import Site
from tasks.build.release import parts, spdx
from tasks.engine import kit

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
NAME = "xcluster-doit"


@dataclass(frozen=True)
class Source:
    """What a release was made from on our side."""

    version: str
    commit: str
    changed: Sequence[str]  # files that are not as in the commit
    tree: str  # one hash for all files of the tree
    parameters: Mapping[str, Any]


def artifacts(
    tasks: Mapping[str, kit.Task], site: Site, hashes: Mapping[str, list[Any]]
) -> list[spdx.Artifact]:
    """Every file in the archive that was built or fetched, with its parts; `hashes` by name there."""
    found = {name: list[spdx.Part]() for name in hashes if _is_built(name)}
    for task_name, task in tasks.items():
        made = parts.of_task(task_name, task, site)
        for name in found:
            if name.startswith(_prefixes(task_name)):
                found[name] += made
    for part in parts.of_wheels(site.workspace.wheels):
        found[f"workspace/wheels/{part.file}"].append(part)
    return [spdx.Artifact(name, hashes[name][0], each) for name, each in found.items()]


def disks(named: Mapping[str, str], folder: Path, inside: Iterable[spdx.Artifact]) -> list[spdx.Artifact]:
    """The disks beside the archive: made of the same parts as those in it."""
    known = {each.name: each.parts for each in inside}
    return [
        spdx.Artifact(name, files.sha256(folder / name), known.get(f"workspace/image/{image}.qcow2", ()))
        for name, image in named.items()
    ]


def provenance(source: Source, made: Iterable[spdx.Artifact], outputs: Iterable[Path]) -> dict[str, Any]:
    """Which inputs became which outputs, by hash; no time, no host and no path."""
    inputs = {part.reference: part for each in made for part in each.parts}
    ours = {"name": NAME, "digest": {"gitCommit": source.commit, "sha256": source.tree}}
    if source.changed:
        ours["annotations"] = {"notCommitted": list(source.changed)}
    return {
        "_type": STATEMENT,
        "subject": [{"name": path.name, "digest": {"sha256": files.sha256(path)}} for path in outputs],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"{NAME}/release/v1",
                "externalParameters": {"version": source.version, **source.parameters},
                "resolvedDependencies": [
                    ours,
                    *(
                        {"uri": part.purl, "digest": {"sha256": part.sha256}}
                        for _, part in sorted(inputs.items())
                        if part.sha256
                    ),
                ],
            },
            "runDetails": {
                "builder": {
                    "id": f"{NAME}/release",
                    "version": {
                        NAME: source.version,
                        "python": ".".join(platform.python_version_tuple()[:2]),
                    },
                }
            },
        },
    }


def _is_built(name: str) -> bool:
    return name.startswith("workspace/") and not name.endswith(".json")


def _prefixes(task: str) -> tuple[str, ...]:
    """How the names of a task's files begin in a release."""
    noun, _, name = task.partition(":")
    return {
        "kernel": (f"workspace/kernel/{name}/",),
        "image": (f"workspace/image/{name}.qcow2",),
        "ovl": (f"workspace/ovl/{name}.tar",),
    }.get(noun, ("\0",))
