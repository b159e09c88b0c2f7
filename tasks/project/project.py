"""All that a run of doit knows before it makes tasks: definitions, settings, words, workspace."""

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from tasks.base import files, odd_signs, progress
from tasks.base.errors import DefinitionError, UsageError, UserError, unknown
from tasks.base.files import explained
from tasks.base.paths import Workspace
from tasks.definitions import image_chain, iso_choice, lockfile, setting_forms, settings, upstream_names
from tasks.project import command_line, definition_files, given_images, heeded
from tasks.project.command_line import Needs, Takes
from tasks.project.site import Site
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
    problems: tuple[str, ...] = ()  # of settings, which the verb does not mind

    @property
    def site(self) -> Site:
        """Where builds work and get things from."""
        chosen, lock = self.settings, self.root / lockfile.FILE
        return Site(
            self.workspace, chosen.suite, chosen.mirror, chosen.offline, chosen.mirrors,
            chosen.download_timeout, lock,
        )  # fmt: skip


Does = Mapping[str, Callable[[Project], None]]  # the verbs of a module: name -> what does it
# Name of a verb -> the tasks that come before it, from the tasks that make all that a cluster needs.
After = Mapping[str, Callable[[Project, list[str]], list[str]]]


@dataclass(frozen=True)
class Sources:
    """All that was read, before any of it decides anything."""

    words: command_line.Words
    environ: Mapping[str, str]  # upstream's variables are our settings in it
    file: Mapping[str, Any]  # xcluster.yaml
    workspace: Workspace
    definitions: definition_files.Definitions
    packed: iso_choice.IsoChoice | None  # what the last mkcdrom was given
    problems: tuple[str, ...]

    def raw(self, name: str) -> str:
        """A setting as the words, the environment, xcluster.yaml or its default say it, unchecked."""
        return _raw(name, self.words, self.environ, self.file)


def load(words: command_line.Words, environ: Mapping[str, str], started_with: StartedWith) -> Project:
    """Read everything, settle what counts, and make the workspace.

    `started_with` tells the settings of a running cluster. Raises UsageError for wrong words, DefinitionError
    with all problems when the verb builds something: a mistake in a definition must not keep anybody from
    stopping a cluster.
    """
    sources = read(words, environ)
    name = sources.raw("name")
    running = started_with(sources.workspace, name) if sources.words.takes is Takes.RUNNING else None
    effective, problems = settled(sources, running)
    validate(sources, effective, problems)
    _prepare(sources.workspace, writes=words.needs is Needs.BUILDS)
    ignored = (*sources.problems, *problems)
    return Project(ROOT, sources.workspace, effective, sources.words, sources.definitions, environ, ignored)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment, with what decided the bytes of an unpacked release where it does not say it itself."""
    manifest = files.read_json(Workspace.find(ROOT, variables).shipped)
    return {**manifest.get("environ", {}), **variables}


def read(words: command_line.Words, environ: Mapping[str, str]) -> Sources:
    """Step 1: the words, the environment, xcluster.yaml, and the definitions if the verb looks at them."""
    sources = _asked(words, environ)
    if words.needs not in (Needs.DEFINITIONS, Needs.BUILDS):
        return sources
    ovlpath = environ.get("XCLUSTER_OVLPATH", "")
    definitions = definition_files.load(ROOT, ovlpath, sources.raw("k8sver"), environ)
    image = words.settings.get("image") or environ.get("__image", "")
    return replace(sources, definitions=given_images.added(definitions, image, sources.workspace))


def _asked(words: command_line.Words, environ: Mapping[str, str]) -> Sources:
    """All but the definitions."""
    problems: list[str] = []
    file: Mapping[str, Any] = definition_files.read_yaml(ROOT / heeded.FILE, heeded.FILE, problems)
    file, environ = heeded.only(words, file, environ)
    workspace = Workspace.find(ROOT, environ)
    values = dict(words.settings)
    if "image" in values:
        values["image"] = upstream_names.image_of(values["image"], str(workspace.root))
    words, translated = replace(words, settings=values), upstream_names.translated(environ, str(ROOT))
    packed = iso_choice.recorded(workspace.choice(_raw("name", words, translated, file)))
    if not translated["__k8s_family"] and packed:  # SETUP of the last mkcdrom
        translated["__k8s_family"] = upstream_names.family(packed.env.get("SETUP", ""))
    return Sources(words, translated, file, workspace, definition_files.NONE, packed, tuple(problems))


def _raw(name: str, words: command_line.Words, environ: Mapping[str, str], file: Mapping[str, Any]) -> str:
    default = settings.Settings.model_fields[name].default
    return str(words.settings.get(name) or environ.get(f"__{name}") or file.get(name) or default)


def settled(sources: Sources, running: settings.Settings | None) -> tuple[settings.Settings, list[str]]:
    """Step 2: the settings that count, merged once, and what is wrong with them.

    `running` are those of the running cluster, for a verb that goes by them.
    """
    if running:
        return _as_running(sources, running)
    named = _topology(sources)
    topology = sources.definitions.topologies.get(named.name)
    effective, wrong = _merged(sources, layers(sources, named))
    if wrong:
        return effective, [*wrong, *_unknown_topology(sources, named)]
    if topology is None:
        return effective, _unknown_topology(sources, named)
    numbers = tuple(node.number for node in effective.nodes())
    return effective, choice.homeless(topology, effective, numbers)


def layers(sources: Sources, named: choice.Named) -> list[settings.SettingsLayer]:
    """What the topology and the image ask for, the least first."""
    topology = sources.definitions.topologies.get(named.name)
    of_image = image_chain.layer(sources.definitions.images, sources.raw("image"))
    return [*([choice.layer(topology, named)] if topology else []), *([of_image] if of_image else [])]


def _merged(sources: Sources, more: Iterable[settings.SettingsLayer]) -> tuple[settings.Settings, list[str]]:
    return settings.load(sources.words.settings, sources.environ, sources.file, *more)


def _topology(sources: Sources) -> choice.Named:
    """The topology of this run."""
    words, packed = sources.words, sources.packed
    of_iso = packed.env if packed and words.verb != "mkcdrom" else {}
    named = choice.named(words.settings, sources.environ, sources.file, of_iso)
    takes_it = words.takes in (Takes.SETTINGS, Takes.RUNNING)
    if named.name in sources.definitions.topologies or takes_it:
        return named
    return choice.Named(setting_forms.PLAIN_TOPOLOGY)  # an overlay's script may know it


def _unknown_topology(sources: Sources, named: choice.Named) -> list[str]:
    topologies = sources.definitions.topologies
    # Where definitions are broken, the topology may be there, and its own problem is told.
    unread = sources.definitions is definition_files.NONE or sources.definitions.problems
    if not named.place or unread or named.name in topologies:
        return []
    return [f"{named.place}: {unknown('topology', named.name, topologies)}"]


def _as_running(sources: Sources, saved: settings.Settings) -> tuple[settings.Settings, list[str]]:
    """What the cluster was started with, its topology too, and over it what the command line says."""
    words = sources.words
    effective, wrong = _merged(sources, ())
    if wrong:
        return effective, wrong
    if words.settings.get("topology", saved.topology) != saved.topology:
        raise UsageError(
            f"{words.verb}: the running cluster has the topology {saved.topology}, which cannot be changed",
            "leave out --topology",
        )
    kept = ("net", "net_setup")  # all nodes are on the same nets
    names = [key for key in words.settings if key in settings.Settings.model_fields and key not in kept]
    overrides = {key: getattr(effective, key) for key in names}
    per_node = {**saved.per_node, **effective.per_node}
    return settings.Settings(**{**saved.model_dump(), **overrides, "per_node": per_node}), []


def validate(sources: Sources, effective: settings.Settings, wrong: Iterable[str]) -> None:
    """Step 3: whether that can be. A verb that builds nothing minds only what it goes by."""
    _note_unknown_kernel(sources, effective)
    words, definitions = sources.words, sources.definitions
    problems = [*sources.problems, *wrong]
    if words.needs is Needs.BUILDS:
        problems += [*definitions.problems, *_unknown_names(sources, effective)]
        problems += _too_little_memory(effective, definitions)
    elif words.takes is Takes.NAME:
        heeded.check(words, sources.environ, sources.problems, list(wrong))
        return
    if problems:
        raise DefinitionError(problems)


def _prepare(workspace: Workspace, *, writes: bool) -> None:
    """Make the workspace for what builds; what only looks does not, as its name may be mistyped."""
    root = workspace.root
    if os.path.lexists(root) and not root.is_dir():
        kind = f"a link to {os.readlink(root)}" if root.is_symlink() else "something else"
        raise UserError(
            f"the workspace {root} is no directory but {kind}", "set XCLUSTER_WORKSPACE to a directory"
        )
    if not writes:
        return
    odd_signs.refuse(root, odd_signs.ANYWHERE, "builds and clusters")
    with explained(root):
        workspace.root.mkdir(parents=True, exist_ok=True)
        if not os.access(workspace.root, os.W_OK):
            raise PermissionError(errno.EACCES, "you have no permission to write there", str(workspace.root))


def _note_unknown_kernel(sources: Sources, effective: settings.Settings) -> None:
    name = sources.environ.get("__kver")
    takes_it = sources.words.takes in (Takes.SETTINGS, Takes.RUNNING)
    if takes_it and name and not upstream_names.kernel_name(sources.environ, str(ROOT)):
        progress.say(f"note: there is no kernel '{name}' (__kver); the kernel '{effective.kernel}' is used")


def of_topology(project: Project, name: str) -> Project:
    """The same run, as if it had named this topology. Raises UsageError for one that is not known."""
    if name not in project.definitions.topologies:
        raise UsageError(unknown("topology", name, project.definitions.topologies))
    words = replace(project.words, settings={**project.words.settings, "topology": name})
    sources = replace(_asked(words, project.environ), definitions=project.definitions)
    named = choice.Named(name, "the command line")
    effective, wrong = _merged(sources, layers(sources, named))
    topology, numbers = project.definitions.topologies[name], tuple(n.number for n in effective.nodes())
    wrong = wrong or choice.homeless(topology, effective, numbers)
    if wrong:
        raise DefinitionError(wrong)
    return replace(project, settings=effective)


def _place(sources: Sources, name: str) -> str:
    """Where a setting is set, as problems begin; "" for none of the places that people write."""
    places = (("--", sources.words.settings), ("__", sources.environ), (f"{heeded.FILE}: ", sources.file))
    keys = (name, f"__{name}", name)
    places_of = (
        f"{where}{name}: " for (where, values), key in zip(places, keys, strict=True) if values.get(key)
    )
    return next(places_of, "")


def _unknown_names(sources: Sources, effective: settings.Settings) -> list[str]:
    """Settings that name a definition which does not exist."""
    definitions = sources.definitions
    chosen: list[tuple[str, str, Mapping[str, object]]] = [
        ("kernel", effective.kernel, definitions.kernels),
        ("image", effective.image, definitions.images),
    ]
    # Whoever has overlays of his own in XCLUSTER_OVLPATH may not have those of the default.
    overlays = effective.ovls if effective.ovls != settings.Settings.model_fields["ovls"].default else ""
    chosen += [("overlay", word, definitions.overlays) for word in overlays.split()]
    broken = bool(definitions.problems)  # then the definition may be there, and its own problem is told
    lacking = definitions.without.get(effective.image)
    if lacking:
        return [
            f"image '{effective.image}' is made with overlays that are not in XCLUSTER_OVLPATH: {lacking}"
        ]
    return [
        _place(sources, "ovls" if kind == "overlay" else kind) + unknown(kind, name, table)
        for kind, name, table in chosen
        if name not in table and not broken
    ]


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
