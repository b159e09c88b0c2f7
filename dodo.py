"""The build pipeline and the verbs, for doit. See docs/architecture.md."""

import os
import sys

from tasks import (
    artifact,
    checkpoint,
    cluster,
    diff,
    doctor,
    golden,
    image,
    iso,
    kernel,
    mkovl,
    ovl,
    reach,
    release,
    selftest,
    suite,
)
from tasks.lib import choice, kit, project, shipped
from tasks.lib.errors import UserError
from tasks.verbs import VERBS

try:
    house = project.load(sys.argv[1:], shipped.environ(os.environ), VERBS)
    # A verb that builds nothing needs no definitions: a mistake in one keeps nobody from stopping a cluster.
    builds = house.words.verb is None or VERBS[house.words.verb].builds
    chosen = iso.choose(house) if builds else choice.Choice()
    parts = iso.parts(house, chosen)
    cluster.refuse_clean(house, sys.argv[1:])
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)

kit.end_well()
BUILDS = [f"kernel:{house.settings.kernel}", f"image:{house.settings.image}", "mkcdrom", "golden"]
DOIT_CONFIG = kit.config(house.workspace.db, BUILDS if builds else [])


def task_builds() -> kit.Tasks:
    """Everything that is made from definitions"""
    yield from kit.told(_builds()) if builds else ()


def _builds() -> kit.Tasks:
    made = [
        *suite.tasks(house),
        *artifact.tasks(house),
        *kernel.tasks(house),
        *image.tasks(house, chosen),
        *ovl.tasks(house, chosen, iso.overlays_of(parts)),
        *iso.tasks(house, chosen, parts),
    ]
    yield from shipped.adopted(made, shipped.Place(house.root, house.workspace))
    yield from release.tasks(house, chosen, made)
    yield from golden.tasks(house)
    yield kit.leftovers("_leftovers", house.workspace.leftovers)


def task_verbs() -> kit.Tasks:
    """Everything that acts"""
    yield from kit.told(_verbs())


def _verbs() -> kit.Tasks:
    yield from cluster.tasks(house, BUILDS if builds else [])
    yield from checkpoint.tasks(house)
    yield from reach.tasks(house)
    yield from mkovl.tasks(house)
    yield from kernel.verb_tasks(house)
    yield from suite.verb_tasks(house)
    yield from diff.tasks(house)
    yield from doctor.tasks(house)
    yield from selftest.tasks(house)
