"""All that a run of doit knows before it makes tasks: definitions, settings, words, workspace."""

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from tasks.base import files, odd_signs, progress
from tasks.base.errors import DefinitionError, UsageError, UserError
from tasks.base.files import explained
from tasks.base.paths import Workspace
from tasks.definitions import image_chain, lockfile, overlay_path, settings, upstream_names
from tasks.definitions.setting_layers import SettingsLayer
from tasks.project import catalogue, command_line, heeded, reading, requirements
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
    definitions: catalogue.Definitions
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

# Verbs that do not warn of directories of overlays: one lists what is wrong, one makes what is missing.
SILENT = ("doctor", "mkovl")


def load(words: command_line.Words, environ: Mapping[str, str], started_with: StartedWith) -> Project:
    """Read everything, settle what counts, and make the workspace.

    `started_with` tells the settings of a running cluster. Raises UsageError for wrong words, DefinitionError
    with all problems when the verb builds something: a mistake in a definition must not keep anybody from
    stopping a cluster.
    """
    sources = reading.read(words, environ)
    name = sources.raw("name")
    running = started_with(sources.workspace, name) if sources.words.takes is Takes.RUNNING else None
    effective, problems = settled(sources, running)
    if words.needs in (Needs.DEFINITIONS, Needs.BUILDS) and words.verb not in SILENT:
        for line in overlay_path.faults(environ):
            progress.say(f"warning: {line}")
    if requirements.starts(sources):
        _notes(sources, effective, environ)
        _notes_of_paths(sources, effective, words.settings.get("image") or environ.get("__image", ""))
    validate(sources, effective, problems)
    _prepare(sources.workspace, writes=words.needs is Needs.BUILDS)
    ignored = (*sources.problems, *problems)
    return Project(ROOT, sources.workspace, effective, sources.words, sources.definitions, environ, ignored)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment, with what decided the bytes of an unpacked release where it does not say it itself."""
    manifest = files.read_json(Workspace.find(ROOT, variables).shipped)
    return {**manifest.get("environ", {}), **variables}


def settled(
    sources: reading.Sources, running: settings.Settings | None
) -> tuple[settings.Settings, list[str]]:
    """Step 2: the settings that count, merged once, and what is wrong with them.

    `running` are those of the running cluster, for a verb that goes by them.
    """
    if running:
        return _as_running(sources, running)
    named = requirements.topology(sources)
    topology = sources.definitions.topologies.get(named.name)
    effective, wrong = _merged(sources, layers(sources, named))
    if wrong:
        return effective, [*wrong, *requirements.of_topology(sources, named)]
    if topology is None:
        return effective, requirements.of_topology(sources, named)
    numbers = tuple(node.number for node in effective.nodes())
    return effective, choice.homeless(topology, effective, numbers)


def layers(sources: reading.Sources, named: choice.Named) -> list[SettingsLayer]:
    """What the topology and the image ask for, the least first."""
    topology = sources.definitions.topologies.get(named.name)
    of_image = image_chain.layer(sources.definitions.images, sources.raw("image"))
    of_topology = [choice.layer(topology, named)] if topology else []
    if requirements.is_of_environment(sources, named):
        of_topology.append(choice.foreign(named))
    return [*of_topology, *([of_image] if of_image else [])]


def _merged(sources: reading.Sources, more: Iterable[SettingsLayer]) -> tuple[settings.Settings, list[str]]:
    return settings.load(sources.words.settings, sources.environ, sources.file, *more)


def _as_running(sources: reading.Sources, saved: settings.Settings) -> tuple[settings.Settings, list[str]]:
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


def validate(sources: reading.Sources, effective: settings.Settings, wrong: Iterable[str]) -> None:
    """Step 3: whether that can be. A verb that builds nothing minds only what it goes by."""
    words = sources.words
    problems = [*sources.problems, *wrong]
    if words.needs is Needs.BUILDS:
        problems += requirements.wrong(sources, effective)
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


def _notes(sources: reading.Sources, effective: settings.Settings, environ: Mapping[str, str]) -> None:
    """Say what is taken in place of what upstream's variables name."""
    for line in upstream_names.unread(environ, sources.words.settings):
        progress.say(line)
    name = sources.environ.get("__kver")
    if name and not upstream_names.kernel_name(sources.environ, str(ROOT)):
        progress.say(f"note: there is no kernel '{name}' (__kver); the kernel '{effective.kernel}' is used")
    named = requirements.topology(sources)
    if effective.topology == named.name and requirements.is_of_environment(sources, named):
        progress.say(requirements.note_of_topology(sources, named))


def _notes_of_paths(sources: reading.Sources, effective: settings.Settings, image: str) -> None:
    """The same for paths of files; `image` as it was typed."""
    root = str(sources.workspace.root)
    if effective.image in sources.definitions.images:
        for line in upstream_names.lost_disk(image, root):
            progress.say(f"note: {line}; the image '{effective.image}' is used")
    for line in upstream_names.unused_kernel(sources.environ, root):
        progress.say(f"note: {line}")


def of_topology(project: Project, name: str) -> Project:
    """The same run, as if it had named this topology. Raises UsageError for one that is not known."""
    lacking = project.definitions.lacking("topology", name)
    if ("topology", name) in project.definitions.faults:
        raise DefinitionError(lacking)
    if lacking:
        raise UsageError("; ".join(lacking))
    words = replace(project.words, settings={**project.words.settings, "topology": name})
    sources = replace(reading.asked(words, project.environ), definitions=project.definitions)
    named = choice.Named(name, "the command line")
    effective, wrong = _merged(sources, layers(sources, named))
    topology, numbers = project.definitions.topologies[name], tuple(n.number for n in effective.nodes())
    wrong = wrong or choice.homeless(topology, effective, numbers)
    if wrong:
        raise DefinitionError(wrong)
    return replace(project, settings=effective)


def wrong_for_start(project: Project) -> list[str]:
    """Why a start with these settings would be refused; nothing if it would not be."""
    row = project.words.row and replace(project.words.row, takes=Takes.SETTINGS, needs=Needs.BUILDS)
    words = replace(project.words, row=row)
    sources = replace(reading.asked(words, project.environ), definitions=project.definitions)
    effective, wrong = settled(sources, None)
    return [*sources.problems, *wrong, *requirements.wrong(sources, effective)]


def source_date_epoch(environ: Mapping[str, str] = os.environ) -> int:
    """The time stamped into artifacts: SOURCE_DATE_EPOCH, else a fixed day; never now.

    The commit's time would be natural too, but would make every artifact of an unchanged definition differ
    after each commit.
    """
    return int(environ.get("SOURCE_DATE_EPOCH") or 1735689600)
