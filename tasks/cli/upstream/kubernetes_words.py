"""Upstream's words for Kubernetes: k8s_build_images, k8s_test, k8s_workspace."""

import os
import sys
from collections.abc import Mapping, Sequence

from tasks.cli.upstream import builds, contract
from tasks.cli.upstream.contract import ROOT, Does, Environ, Refused, values
from tasks.definitions.upstream_names import PREFIX, as_upstream

# What upstream gives to such a cluster; memory in MiB.
TESTED = {"__image": "k8s", "__wait": "ready", "__nvm": "4", "__mem": "1536", "__mem1": "2048"}


def k8s_build_images(environ: Environ, args: Sequence[str]) -> None:
    """Build the image for Kubernetes."""
    builds.become(["image:k8s"], environ)


def k8s_test(environ: Environ, args: Sequence[str]) -> None:
    """Run the test script of an overlay, OVL/OVL.sh, for clusters of the image k8s."""
    if not args:
        raise Refused("No ovl")
    name = args[0]
    script = os.path.join(contract.overlay(environ, name), f"{name}.sh")
    if not os.access(script, os.X_OK):
        raise Refused(f"Not executable [{script}]")
    network = f"k8s-cni-{environ['__cni']}" if environ.get("__cni") else ""
    if network:
        contract.overlay(environ, network)
    overlays = " ".join(word for word in (environ.get("XOVLS", ""), network) if word)
    named = as_upstream(environ).items()
    own = {key: value for key, value in named if value or key not in TESTED}
    if own.get("xcluster_PREFIX") == "":
        own["xcluster_PREFIX"] = PREFIX
    kept = builds.plain({**TESTED, **own, "XOVLS": overlays, "XCLUSTER": os.path.join(ROOT, "xc")})
    how = ["--list"] if environ.get("__list") else args[1:]
    sys.stdout.flush()
    os.execve(script, [script, "test", *how], dict(kept))


def k8s_workspace(environ: Environ, args: Sequence[str]) -> None:
    """Put kubectl into bin/ of the workspace."""
    if environ.get("__workspace"):
        environ = {**environ, "XCLUSTER_WORKSPACE": os.path.abspath(environ["__workspace"])}
    builds.build(["artifact:kubectl"], environ)
    sys.stdout.write(os.path.join(values(environ)["XCLUSTER_WORKSPACE"], "bin", "kubectl") + "\n")


WORDS: Mapping[str, Does] = {
    "k8s_build_images": k8s_build_images,
    "k8s_test": k8s_test,
    "k8s_workspace": k8s_workspace,
}
