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
from tasks.engine import kit
from tasks.project import project
from tasks.run.cluster import checkpoints, lifecycle, machine
from tasks.run.inspect import capture, graph, link, namespaces
from tasks.run.kubernetes import kube_context
from tasks.run.node import golden
from tasks.run.running import reach
from tasks.run.services import dns, fakenet
from tasks.run.verify import verify

try:
    house = project.load(sys.argv[1:], shipped.environ(os.environ), VERBS)
    # A verb that builds nothing needs no definitions: a mistake in one keeps nobody from stopping a cluster.
    builds = house.words.verb is None or VERBS[house.words.verb].builds
    chosen = iso.choose(house) if builds else iso_choice.Choice()
    parts = iso.parts(house, chosen)
    overlays = iso.overlays_of(parts)
    containers = store.wanted(house, overlays.values()) if builds else store.Wanted()
    lifecycle.refuse_clean(house, sys.argv[1:])
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)

kit.end_well()
BUILDS = [f"kernel:{house.settings.kernel}", f"image:{house.settings.image}", "mkcdrom"]
BUILDS += [*(["store"] if store.is_due(house, containers) else []), "golden"]
DOIT_CONFIG = kit.config(house.workspace.db, BUILDS if builds else [])


def task_builds() -> kit.Tasks:
    """Everything that is made from definitions"""
    yield from kit.told(_builds()) if builds else ()


def _builds() -> kit.Tasks:
    made = [
        *suite.tasks(house),
        *artifact.tasks(house),
        *kernel.tasks(house),
        *compose.tasks(house, chosen),
        *ovl.tasks(house, chosen, overlays),
        *pki.tasks(house),
        *iso.tasks(house, chosen, parts),
    ]
    yield from shipped.adopted(made, shipped.Place(house.root, house.workspace))
    yield from release.tasks(house, chosen, made)
    yield from disk.tasks(house)
    yield from pull.tasks(house, chosen, overlays)
    yield from store.tasks(house, containers)
    yield from golden.tasks(house, [house.workspace.stored(house.settings.name)] if containers.refs else [])
    yield kit.leftovers("_leftovers", house.workspace.leftovers)


def task_verbs() -> kit.Tasks:
    """Everything that acts"""
    yield from kit.told(_verbs())


def _verbs() -> kit.Tasks:
    yield from lifecycle.tasks(house, BUILDS if builds else [])
    yield from machine.tasks(house, BUILDS if builds else [])
    yield from checkpoints.tasks(house)
    yield from kube_context.tasks(house)
    yield from reach.tasks(house)
    yield from namespaces.tasks(house)
    yield from graph.tasks(house)
    yield from verify.tasks(house)
    yield from capture.tasks(house)
    yield from link.tasks(house)
    yield from dns.tasks(house)
    yield from fakenet.tasks(house)
    yield from mkovl.tasks(house)
    yield from images.tasks(house)
    yield from registry.tasks(house)
    yield from kernel.verb_tasks(house)
    yield from suite.verb_tasks(house)
    yield from lock.tasks(house)
    yield from cache.tasks(house)
    yield from diff.tasks(house)
    yield from doctor.tasks(house)
    yield from selftest.tasks(house)
    yield from build_words.tasks(house)
