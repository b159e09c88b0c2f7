"""Every verb by name, gathered from the modules that do them."""

from collections.abc import Mapping

from tasks import checkpoint, cluster, diff, doctor, iso, kernel, mkovl, reach, release, selftest, suite
from tasks.lib.words import Verb

VERBS: Mapping[str, Verb] = {
    name: verb
    for noun in (cluster, checkpoint, reach, iso, mkovl, kernel, suite, release, diff, doctor, selftest)
    for name, verb in noun.VERBS.items()
}
