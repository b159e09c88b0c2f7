"""Every verb by name, gathered from the modules that do them."""

from collections.abc import Mapping

from tasks import (
    capture,
    checkpoint,
    cluster,
    dns,
    doctor,
    fakenet,
    graph,
    iso,
    kernel,
    link,
    mkovl,
    netns,
    reach,
    selftest,
    suite,
    verify,
)
from tasks.lib.words import Verb

VERBS: Mapping[str, Verb] = {
    name: verb
    for noun in (
        cluster,
        checkpoint,
        reach,
        netns,
        graph,
        verify,
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
