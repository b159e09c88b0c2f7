"""Every verb by name, gathered from the modules that do them."""

from collections.abc import Mapping

from tasks import (
    capture,
    checkpoint,
    cluster,
    dns,
    doctor,
    fakenet,
    iso,
    kernel,
    link,
    mkovl,
    reach,
    selftest,
    suite,
)
from tasks.lib.words import Verb

VERBS: Mapping[str, Verb] = {
    name: verb
    for noun in (
        cluster,
        checkpoint,
        reach,
        capture,
        link,
        dns,
        fakenet,
        iso,
        mkovl,
        kernel,
        suite,
        doctor,
        selftest,
    )
    for name, verb in noun.VERBS.items()
}
