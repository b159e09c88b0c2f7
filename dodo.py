"""The build pipeline and the verbs, for doit. See docs/architecture.md."""

import os
import sys

from tasks.base import output, progress, signals
from tasks.base.errors import UserError
from tasks.build.containers import store
from tasks.build.credentials import pki
from tasks.build.image import disk, given
from tasks.build.overlay import iso, iso_words
from tasks.build.release import release, shipped
from tasks.build.sources import suite
from tasks.build.stock import inputs, unusable
from tasks.cli import verb_tasks
from tasks.cli.table import MADE, VERBS
from tasks.definitions import iso_choice
from tasks.engine import kit, record, run
from tasks.project.command_line import Needs, parse
from tasks.project.project import environment, load
from tasks.run.cluster import foundations, lifecycle
from tasks.run.node import golden

signals.install(output.last_line)
signals.waiting_here()
verb_tasks.hand_over(sys.argv)
try:
    project = load(parse(sys.argv[1:], VERBS), environment(os.environ), verb_tasks.started_with)
    progress.configure(project.words.options)
    # A verb that builds nothing needs no definitions: a mistake in one keeps nobody from stopping a cluster.
    builds = project.words.needs is Needs.BUILDS
    chosen = iso_words.choose(project) if builds else iso_choice.IsoChoice()
    parts, unfit = iso.parts_if_possible(project, chosen) if builds else ([], [])
    overlays = iso.overlays_of(parts)
    containers = store.contents(project, overlays.values()) if builds else store.StoreContents()
    record.check(project.workspace.db)
    lifecycle.refuse_clean(project, sys.argv[1:])
except UserError as error:
    output.error(error)
    sys.exit(error.exit_code)

BUILDS = foundations.tasks(project, stored=store.is_due(project, containers))
DOIT_CONFIG = run.config(project.workspace.db, BUILDS if builds else [])


def task_builds() -> kit.Tasks:
    """Everything that is made from definitions"""
    yield from run.reported(_builds()) if builds else ()


def _builds() -> kit.Tasks:
    built = [
        *suite.tasks(project, overlays.values()),
        *inputs.recipes(project, chosen, overlays),
        *pki.tasks(project),
        *iso.tasks(project, chosen, parts, unfit),
        *unusable.tasks(project),
    ]
    location = shipped.Location(project.root, project.workspace)
    yield from shipped.adopted(list(kit.sealed(built, project.workspace.seals)), location)
    yield from kit.sealed(_from_built(built), project.workspace.seals)
    if project.words.verb not in MADE:  # to see which snapshots, the nets of this host are tried
        disks = [project.workspace.stored(project.settings.name)] if containers.refs else []
        yield from golden.tasks(project, disks)
    yield kit.leftovers("_leftovers", project.workspace.leftovers)


def _from_built(built: list[kit.Task]) -> kit.Tasks:
    yield from release.tasks(project, chosen, built)
    yield from disk.tasks(project)
    yield from given.tasks(project)
    yield from store.tasks(project, containers)


def task_verbs() -> kit.Tasks:
    """Everything that acts"""
    yield from run.reported(verb_tasks.tasks(project, BUILDS if builds else []))
