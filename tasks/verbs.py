"""Every verb by name, gathered from the modules that do them."""

from collections.abc import Mapping

from tasks import cache, checkpoint, cluster, doctor, iso, kernel, lock, mkovl, reach, selftest, suite
from tasks.lib.words import Verb

VERBS: Mapping[str, Verb] = {
    name: verb
    for noun in (cluster, checkpoint, reach, iso, mkovl, kernel, suite, lock, cache, doctor, selftest)
    for name, verb in noun.VERBS.items()
}
