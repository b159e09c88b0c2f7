"""Every verb by name, gathered from the modules that do them."""

from collections.abc import Mapping

from tasks import checkpoint, cluster, doctor, iso, kernel, machine, mkovl, reach, selftest, suite, upstream
from tasks.lib.words import Verb

VERBS: Mapping[str, Verb] = {
    name: verb
    for noun in (cluster, machine, checkpoint, reach, iso, mkovl, kernel, suite, doctor, selftest, upstream)
    for name, verb in noun.VERBS.items()
}
