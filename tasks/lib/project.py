"""All that a run of doit knows before it makes tasks: definitions, settings, words, workspace."""

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tasks.lib import defs, pins, settings, words
from tasks.lib.errors import DefinitionError, unknown
from tasks.lib.files import explained
from tasks.lib.paths import Site, Workspace

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Project:
    """Handed to every task creator."""

    NO_INPUT: ClassVar = True  # a task that takes all of it names its inputs

    root: Path
    workspace: Workspace
    settings: settings.Settings
    words: words.Words
    definitions: defs.Definitions
    environ: Mapping[str, str]

    @property
    def site(self) -> Site:
        """Where builds work and get things from."""
        said = self.settings
        lock = self.root / pins.FILE
        return Site(self.workspace, said.suite, said.mirror, said.offline, said.mirrors, lock)


def load(argv: Sequence[str], environ: Mapping[str, str], verbs: Mapping[str, words.Verb]) -> Project:
    """Read everything and make the workspace.

    Raises UsageError for wrong words, DefinitionError with all problems when the verb builds something: a
    mistake in a definition must not keep anybody from stopping a cluster.
    """
    said = words.parse(argv, verbs)
    problems: list[str] = []
    file = defs.read_yaml(ROOT / "xcluster.yaml", "xcluster.yaml", problems)
    effective, wrong = settings.load(said.settings, environ, file)
    verb = verbs[said.verb] if said.verb else None
    reads = verb is None or verb.builds or verb.definitions
    definitions = defs.load(ROOT, environ.get("XCLUSTER_OVLPATH", "")) if reads else defs.NONE
    problems += wrong
    if verb is None or verb.builds:
        problems += [*definitions.problems, *_unknown_names(effective, definitions)]
        if problems:
            raise DefinitionError(problems)
    elif problems and said.settings:
        raise DefinitionError(problems)
    workspace = Workspace.find(ROOT, environ)
    with explained(workspace.root):
        workspace.root.mkdir(parents=True, exist_ok=True)
        if not os.access(workspace.root, os.W_OK):
            raise PermissionError(errno.EACCES, "it is read-only", str(workspace.root))
    return Project(ROOT, workspace, effective, said, definitions, environ)


def _unknown_names(effective: settings.Settings, definitions: defs.Definitions) -> list[str]:
    """Settings that name a definition which does not exist."""
    chosen: list[tuple[str, str, Mapping[str, object]]] = [
        ("kernel", effective.kernel, definitions.kernels),
        ("image", effective.image, definitions.images),
    ]
    chosen += [("overlay", word, definitions.overlays) for word in effective.ovls.split()]
    broken = bool(definitions.problems)  # then the definition may be there, and its own problem is told
    return [unknown(kind, name, known) for kind, name, known in chosen if name not in known and not broken]


def source_date_epoch(environ: Mapping[str, str] = os.environ) -> int:
    """The time stamped into artifacts: SOURCE_DATE_EPOCH, else a fixed day; never now.

    The commit's time would be natural too, but would make every artifact of an unchanged definition differ
    after each commit.
    """
    return int(environ.get("SOURCE_DATE_EPOCH") or 1735689600)
