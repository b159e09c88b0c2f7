"""Every verb by name, gathered from the modules that do them."""

from collections.abc import Mapping

from tasks.build.containers import images, registry
from tasks.build.kernel import kernel
from tasks.build.overlay import iso, mkovl
from tasks.build.release import diff, release
from tasks.build.sources import suite
from tasks.build.stock import cache, lock
from tasks.cli import doctor, selftest
from tasks.cli.upstream import build_words
from tasks.project.command_line import Verb
from tasks.run.cluster import checkpoints, lifecycle, machine
from tasks.run.inspect import capture, graph, link, namespaces
from tasks.run.kubernetes import kube_context
from tasks.run.running import reach
from tasks.run.services import dns, fakenet
from tasks.run.verify import verify

VERBS: Mapping[str, Verb] = {
    name: verb
    for noun in (
        lifecycle,
        checkpoints,
        kube_context,
        machine,
        reach,
        namespaces,
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
        build_words,
        doctor,
        selftest,
    )
    for name, verb in noun.VERBS.items()
}
