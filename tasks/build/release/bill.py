"""What is in a release and where it comes from: bill of materials (SPDX), provenance (in-toto, SLSA)."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.base import files
from tasks.build.release import parts, spdx
from tasks.engine import kit
from tasks.project.site import Site

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
NAME = "xcluster-doit"


@dataclass(frozen=True)
class ReleaseSource:
    """What a release was made from on our side."""

    version: str
    commit: str
    changed: Sequence[str]  # files that are not as in the commit
    tree: str  # one hash for all files of the tree
    parameters: Mapping[str, Any]


def built_files(
    names: Iterable[str], tasks: Mapping[str, kit.Task], site: Site, hashes: Mapping[str, list[Any]]
) -> list[spdx.BuiltFile]:
    """Every file in the archive that was built or fetched, with what it was made of.

    `names` are the tasks of the release, `tasks` all by name, `hashes` its files by name there.
    """
    components = {name: list[spdx.Component]() for name in hashes if _is_built(name)}
    for task_name in names:
        of_task = parts.of_task(task_name, tasks, site)
        for name in components:
            if name.startswith(_prefixes(task_name)):
                components[name] += of_task
    for part in parts.of_wheels(site.workspace.wheels):
        components[f"workspace/wheels/{part.file}"].append(part)
    return [spdx.BuiltFile(name, hashes[name][0], each) for name, each in components.items()]


def disks(named: Mapping[str, str], folder: Path, inside: Iterable[spdx.BuiltFile]) -> list[spdx.BuiltFile]:
    """The disks beside the archive: made of the same components as those in it."""
    by_name = {each.name: each.components for each in inside}
    return [
        spdx.BuiltFile(name, files.sha256(folder / name), by_name.get(f"workspace/image/{image}.qcow2", ()))
        for name, image in named.items()
    ]


def provenance(
    source: ReleaseSource, built: Iterable[spdx.BuiltFile], outputs: Iterable[Path]
) -> dict[str, Any]:
    """Which inputs became which outputs, by hash; no time, no host and no path."""
    inputs = {part.reference: part for each in built for part in each.components}
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
        "artifact": (f"workspace/bin/{name}",),
    }.get(noun, ("\0",))
