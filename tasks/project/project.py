"""All that a run of doit knows before it makes tasks: definitions, settings, words, workspace."""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from tasks.base import progress
from tasks.base.errors import DefinitionError, UsageError, unknown
from tasks.base.files import explained
from tasks.base.paths import Site, Workspace
from tasks.definitions import image_chain, iso_choice, lockfile, settings, upstream_names
from tasks.project import command_line, definition_files
from tasks.topology import choice

ROOT = Path(__file__).resolve().parents[2]
# Workspace and name of a cluster -> what it was started with; None when it does not run.
StartedWith = Callable[[Workspace, str], settings.Settings | None]


@dataclass(frozen=True)
class Project:
    """Handed to every task creator."""

    NO_INPUT: ClassVar = True  # a task that takes all of it names its inputs

    root: Path
    workspace: Workspace
    settings: settings.Settings
    words: command_line.Words
    definitions: definition_files.Definitions
    environ: Mapping[str, str]

    @property
    def site(self) -> Site:
        """Where builds work and get things from."""
        said = self.settings
        lock = self.root / lockfile.FILE
        return Site(self.workspace, said.suite, said.mirror, said.offline, said.mirrors, lock)


def load(
    argv: Sequence[str],
    environ: Mapping[str, str],
    verbs: Mapping[str, command_line.Verb],
    started_with: StartedWith,
) -> Project:
    """Read everything and make the workspace; `started_with` tells the settings of a running cluster.

    Raises UsageError for wrong words, DefinitionError with all problems when the verb builds something: a
    mistake in a definition must not keep anybody from stopping a cluster.
    """
    said = command_line.parse(argv, verbs)
    problems: list[str] = []
    file = definition_files.read_yaml(ROOT / "xcluster.yaml", "xcluster.yaml", problems)
    asked = {k: upstream_names.image_name(v) if k == "image" else v for k, v in said.settings.items()}
    said, told = replace(said, settings=asked), upstream_names.translated(environ, str(ROOT))
    effective, wrong = settings.load(said.settings, told, file)
    workspace = Workspace.find(ROOT, environ)
    told = _packed_family(told, workspace, effective.name)
    verb = verbs[said.verb] if said.verb else None
    _note_unknown_kernel(verb, environ, effective)
    definitions = _definitions(verb, effective, environ)
    running = started_with(workspace, effective.name) if verb and verb.running else None
    if running and not wrong:
        effective = _as_running(effective, said, running)
    elif not wrong:
        named = _topology(said, told, file, workspace, effective.name)
        if named.name not in definitions.topologies and not (verb and verb.settings):
            named = choice.Named(settings.PLAIN_TOPOLOGY)  # an overlay's script may know it
        effective, wrong = _with_topology(said, told, file, definitions, named)
    problems += wrong
    if verb is None or verb.builds:
        problems += [*definitions.problems, *_unknown_names(effective, definitions)]
        problems += _too_little_memory(effective, definitions)
        if problems:
            raise DefinitionError(problems)
    elif problems and (said.settings or verb.settings):
        raise DefinitionError(problems)
    _make(workspace)
    return Project(ROOT, workspace, effective, said, definitions, environ)


def _definitions(
    verb: command_line.Verb | None, effective: settings.Settings, environ: Mapping[str, str]
) -> definition_files.Definitions:
    """The definitions, for a verb that looks at them."""
    if verb and not (verb.builds or verb.definitions):
        return definition_files.NONE
    ovlpath = environ.get("XCLUSTER_OVLPATH", "")
    return definition_files.load(ROOT, ovlpath, effective.k8sver, environ)


def _make(workspace: Workspace) -> None:
    with explained(workspace.root):
        workspace.root.mkdir(parents=True, exist_ok=True)
        if not os.access(workspace.root, os.W_OK):
            raise PermissionError(errno.EACCES, "it is read-only", str(workspace.root))


def _note_unknown_kernel(
    verb: command_line.Verb | None, environ: Mapping[str, str], effective: settings.Settings
) -> None:
    if (
        verb
        and verb.settings
        and environ.get("__kver")
        and not upstream_names.kernel_name(environ, str(ROOT))
    ):
        progress.say(f"note: __kver={environ['__kver']} is no kernel here, '{effective.kernel}' is used")


def _packed_family(told: dict[str, str], workspace: Workspace, name: str) -> dict[str, str]:
    """SETUP of the last mkcdrom counts where the environment says nothing."""
    packed = iso_choice.recorded(workspace.choice(name))
    said = told["__k8s_family"] or (upstream_names.family(packed.env.get("SETUP", "")) if packed else "")
    return {**told, "__k8s_family": said}


def _as_running(
    effective: settings.Settings, said: command_line.Words, saved: settings.Settings
) -> settings.Settings:
    """What the cluster was started with, its topology too, and over it what the command line says."""
    own = saved.topology
    if said.settings.get("topology", own) != own:
        raise UsageError(f"{said.verb}: the cluster's topology is {own}", "leave out --topology")
    kept = ("net", "net_setup")  # all nodes are on the same nets
    names = [key for key in said.settings if key in settings.Settings.model_fields and key not in kept]
    asked = {key: getattr(effective, key) for key in names}
    per_node = {**saved.per_node, **effective.per_node}
    return settings.Settings(**{**saved.model_dump(), **asked, "per_node": per_node})


def _topology(
    said: command_line.Words,
    environ: Mapping[str, str],
    file: Mapping[str, Any],
    workspace: Workspace,
    name: str,
) -> choice.Named:
    """The topology of this run."""
    packed = iso_choice.recorded(workspace.choice(name))
    fresh = said.verb == "mkcdrom" or not packed
    return choice.named(said.settings, environ, file, {} if fresh or not packed else packed.env)


def _with_topology(
    said: command_line.Words,
    environ: Mapping[str, str],
    file: Mapping[str, Any],
    definitions: definition_files.Definitions,
    named: choice.Named,
) -> tuple[settings.Settings, list[str]]:
    """The settings with what the topology asks for, and what is wrong with them."""
    topology = definitions.topologies.get(named.name)
    image = settings.load(said.settings, environ, file)[0].image
    of_image = [layer] if (layer := image_chain.layer(definitions.images, image)) else []
    if topology is None:
        effective, wrong = settings.load(said.settings, environ, file, *of_image)
        broken = bool(definitions.problems)  # then the topology may be there, and its own problem is told
        if named.place and definitions is not definition_files.NONE and not broken:
            wrong.append(f"{named.place}: {unknown('topology', named.name, definitions.topologies)}")
        return effective, wrong
    asked = [choice.layer(topology, named), *of_image]
    effective, wrong = settings.load(said.settings, environ, file, *asked)
    numbers = tuple(node.number for node in effective.nodes())
    return effective, wrong + choice.homeless(topology, effective, numbers)


def of_topology(project: Project, name: str) -> Project:
    """The same run, as if it had named this topology. Raises UsageError for one that is not known."""
    if name not in project.definitions.topologies:
        raise UsageError(unknown("topology", name, project.definitions.topologies))
    file = definition_files.read_yaml(ROOT / "xcluster.yaml", "xcluster.yaml", [])
    said = replace(project.words, settings={**project.words.settings, "topology": name})
    named, told = (
        choice.Named(name, "the command line"),
        upstream_names.translated(project.environ, str(ROOT)),
    )
    effective, wrong = _with_topology(said, told, file, project.definitions, named)
    if wrong:
        raise DefinitionError(wrong)
    return replace(project, settings=effective)


def _unknown_names(effective: settings.Settings, definitions: definition_files.Definitions) -> list[str]:
    """Settings that name a definition which does not exist."""
    chosen: list[tuple[str, str, Mapping[str, object]]] = [
        ("kernel", effective.kernel, definitions.kernels),
        ("image", effective.image, definitions.images),
    ]
    # Whoever has overlays of his own in XCLUSTER_OVLPATH may not have those of the default.
    asked = effective.ovls if effective.ovls != settings.Settings.model_fields["ovls"].default else ""
    chosen += [("overlay", word, definitions.overlays) for word in asked.split()]
    broken = bool(definitions.problems)  # then the definition may be there, and its own problem is told
    lacking = definitions.without.get(effective.image)
    if lacking:
        return [
            f"image '{effective.image}' is made with overlays that are not in XCLUSTER_OVLPATH: {lacking}"
        ]
    return [unknown(kind, name, known) for kind, name, known in chosen if name not in known and not broken]


def _too_little_memory(effective: settings.Settings, definitions: definition_files.Definitions) -> list[str]:
    """Nodes in which the kernel cannot come up, or what the image has in it."""
    kernel = definitions.kernels.get(effective.kernel)
    least = kernel.mem if kernel else 0
    small = sorted({node.mem for node in effective.nodes() if node.mem < least})
    return [
        f"a node of {mem} MiB is too small for the kernel '{effective.kernel}', which needs {least} MiB: "
        "give more with --mem, or take another kernel"
        for mem in small
    ] + image_chain.too_small(definitions.images, effective)


def source_date_epoch(environ: Mapping[str, str] = os.environ) -> int:
    """The time stamped into artifacts: SOURCE_DATE_EPOCH, else a fixed day; never now.

    The commit's time would be natural too, but would make every artifact of an unchanged definition differ
    after each commit.
    """
    return int(environ.get("SOURCE_DATE_EPOCH") or 1735689600)
