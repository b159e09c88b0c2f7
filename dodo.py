"""The build pipeline and the verbs, for doit. See docs/architecture.md."""

import os
import sys

from tasks.base.errors import UserError
from tasks.build.containers import images, pull, registry, store
from tasks.build.credentials import pki
from tasks.build.image import compose, disk
from tasks.build.kernel import kernel
from tasks.build.overlay import iso, mkovl, ovl
from tasks.build.release import diff, release, shipped
from tasks.build.sources import artifact, suite
from tasks.build.stock import cache, lock
from tasks.cli import doctor, selftest
from tasks.cli.upstream import build_words
from tasks.cli.verbs import VERBS
from tasks.definitions import iso_choice
from tasks.engine import kit, run
from tasks.project.project import load
from tasks.run.cluster import checkpoints, lifecycle, machine
from tasks.run.inspect import capture, graph, link, namespaces
from tasks.run.kubernetes import kube_context
from tasks.run.node import golden
from tasks.run.running import reach
from tasks.run.services import dns, fakenet
from tasks.run.verify import verify

try:
    project = load(sys.argv[1:], shipped.environ(os.environ), VERBS)
    # A verb that builds nothing needs no definitions: a mistake in one keeps nobody from stopping a cluster.
    builds = project.words.verb is None or VERBS[project.words.verb].builds
    chosen = iso.choose(project) if builds else iso_choice.Choice()
    parts = iso.parts(project, chosen)
    overlays = iso.overlays_of(parts)
    containers = store.wanted(project, overlays.values()) if builds else store.Wanted()
    lifecycle.refuse_clean(project, sys.argv[1:])
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)

run.end_well()
BUILDS = [f"kernel:{project.settings.kernel}", f"image:{project.settings.image}", "mkcdrom"]
BUILDS += [*(["store"] if store.is_due(project, containers) else []), "golden"]
DOIT_CONFIG = run.config(project.workspace.db, BUILDS if builds else [])


def task_builds() -> kit.Tasks:
    """Everything that is made from definitions"""
    yield from run.reported(_builds()) if builds else ()


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
    yield from run.reported(_verbs())


def _verbs() -> kit.Tasks:
    yield from lifecycle.tasks(project, BUILDS if builds else [])
    yield from machine.tasks(project, BUILDS if builds else [])
    yield from checkpoints.tasks(project)
    yield from kube_context.tasks(project)
    yield from reach.tasks(project)
    yield from namespaces.tasks(project)
    yield from graph.tasks(project)
    yield from verify.tasks(project)
    yield from capture.tasks(project)
    yield from link.tasks(project)
    yield from dns.tasks(project)
    yield from fakenet.tasks(project)
    yield from mkovl.tasks(project)
    yield from images.tasks(project)
    yield from registry.tasks(project)
    yield from kernel.verb_tasks(project)
    yield from suite.verb_tasks(project)
    yield from lock.tasks(project)
    yield from cache.tasks(project)
    yield from diff.tasks(project)
    yield from doctor.tasks(project)
    yield from selftest.tasks(project)
    yield from build_words.tasks(project)
