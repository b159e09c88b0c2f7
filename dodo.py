"""The build pipeline and the verbs, for doit. See docs/architecture.md."""

import os
import sys

from tasks.base import output, progress
from tasks.base.errors import UserError
from tasks.build.containers import pull, store
from tasks.build.credentials import pki
from tasks.build.image import compose, disk
from tasks.build.kernel import kernel
from tasks.build.overlay import iso, ovl
from tasks.build.release import release, shipped
from tasks.build.sources import artifact, suite
from tasks.cli import verb_tasks
from tasks.cli.table import VERBS
from tasks.definitions import iso_choice
from tasks.engine import kit
from tasks.project.command_line import Needs, parse
from tasks.project.project import environment, load
from tasks.run.cluster import lifecycle
from tasks.run.node import golden

try:
    project = load(parse(sys.argv[1:], VERBS), environment(os.environ))
    progress.configure(project.words.options)
    # A verb that builds nothing needs no definitions: a mistake in one keeps nobody from stopping a cluster.
    builds = project.words.needs is Needs.BUILDS
    chosen = iso.choose(project) if builds else iso_choice.Choice()
    parts = iso.parts(project, chosen)
    overlays = iso.overlays_of(parts)
    containers = store.wanted(project, overlays.values()) if builds else store.Wanted()
    lifecycle.refuse_clean(project, sys.argv[1:])
except UserError as error:
    output.error(error)
    sys.exit(error.exit_code)

kit.end_well()
BUILDS = [f"kernel:{project.settings.kernel}", f"image:{project.settings.image}", "mkcdrom"]
BUILDS += [*(["store"] if store.is_due(project, containers) else []), "golden"]
DOIT_CONFIG = kit.config(project.workspace.db, BUILDS if builds else [])


def task_builds() -> kit.Tasks:
    """Everything that is made from definitions"""
    yield from kit.told(_builds()) if builds else ()


def _builds() -> kit.Tasks:
    made = [
        *suite.tasks(project),
        *artifact.tasks(project),
        *kernel.tasks(project),
        *compose.tasks(project, chosen),
        *ovl.tasks(project, chosen, overlays),
        *pki.tasks(project),
        *iso.tasks(project, chosen, parts),
    ]
    yield from shipped.adopted(made, shipped.Place(project.root, project.workspace))
    yield from release.tasks(project, chosen, made)
    yield from disk.tasks(project)
    yield from pull.tasks(project, chosen, overlays)
    yield from store.tasks(project, containers)
    yield from golden.tasks(
        project, [project.workspace.stored(project.settings.name)] if containers.refs else []
    )
    yield kit.leftovers("_leftovers", project.workspace.leftovers)


def task_verbs() -> kit.Tasks:
    """Everything that acts"""
    yield from kit.told(verb_tasks.tasks(project, BUILDS if builds else []))
