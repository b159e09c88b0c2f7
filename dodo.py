"""The build pipeline and the verbs, for doit. See docs/architecture.md."""

import os
import sys

from tasks import artifact, cluster, doctor, golden, image, iso, kernel, mkovl, ovl, reach, selftest, suite
from tasks.lib import kit, project
from tasks.lib.errors import UserError

VERBS = {
    name: verb
    for noun in (cluster, reach, iso, mkovl, kernel, suite, doctor, selftest)
    for name, verb in noun.VERBS.items()
}

try:
    house = project.load(sys.argv[1:], os.environ, VERBS)
    chosen = iso.choose(house)
    parts = iso.parts(house, chosen)
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)

kit.end_well()
BUILDS = [f"kernel:{house.settings.kernel}", f"image:{house.settings.image}", "mkcdrom", "golden"]
DOIT_CONFIG = kit.config(house.workspace.db, BUILDS)


def task_suite() -> kit.Tasks:
    """Package lists of the Debian suites in use"""
    yield from suite.tasks(house)


def task_artifact() -> kit.Tasks:
    """Files from outside, by name"""
    yield from artifact.tasks(house)


def task_kernel() -> kit.Tasks:
    """Kernels: kernel/<name>.yaml"""
    yield from kernel.tasks(house)


def task_image() -> kit.Tasks:
    """Disk images: images/<name>/"""
    yield from image.tasks(house, chosen)


def task_ovl() -> kit.Tasks:
    """Overlays: ovl/<name>/"""
    yield from ovl.tasks(house, chosen, iso.overlays_of(parts))


def task_leftovers() -> kit.Tasks:
    """Caches, keys and logs, for `clean`"""
    yield kit.leftovers("_leftovers", house.workspace.leftovers)


def task_mkcdrom() -> kit.Tasks:
    """The overlay ISO"""
    yield from iso.tasks(house, chosen, parts)


def task_golden() -> kit.Tasks:
    """The snapshot that nodes are cloned from"""
    yield from golden.tasks(house)


def task_cluster() -> kit.Tasks:
    """Verbs: start, stop and between"""
    yield from cluster.tasks(house, BUILDS)


def task_reach() -> kit.Tasks:
    """Verbs: into a running cluster"""
    yield from reach.tasks(house)


def task_doctor() -> kit.Tasks:
    """Verbs: what is there and what is missing"""
    yield from doctor.tasks(house)
    yield from mkovl.tasks(house)
    yield from selftest.tasks(house)
    yield suite.update(house)
