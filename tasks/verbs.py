"""Every verb by name, gathered from the modules that do them."""

from collections.abc import Mapping

from tasks import (
    cache,
    capture,
    checkpoint,
    cluster,
    diff,
    dns,
    doctor,
    fakenet,
    graph,
    images,
    iso,
    kernel,
    kubeconfig,
    link,
    lock,
    machine,
    mkovl,
    netns,
    reach,
    registry,
    release,
    selftest,
    suite,
    upstream,
    verify,
)
from tasks.lib.words import Verb

VERBS: Mapping[str, Verb] = {
    name: verb
    for noun in (
        cluster,
        checkpoint,
        kubeconfig,
        machine,
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
        images,
        registry,
        kernel,
        suite,
        lock,
        cache,
        release,
        diff,
        upstream,
        doctor,
        selftest,
    )
    for name, verb in noun.VERBS.items()
}
