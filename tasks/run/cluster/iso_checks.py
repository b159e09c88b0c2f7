"""What is on a cluster's ISO, against what its topology and its pods need of it"""

import re
from collections.abc import Iterable

from tasks.base import progress
from tasks.build.containers import store
from tasks.build.overlay import iso, iso_words, ovl
from tasks.definitions import image_chain, iso_choice
from tasks.definitions.schema import Node, Overlay
from tasks.definitions.setting_forms import PLAIN_TOPOLOGY
from tasks.project.project import Project
from tasks.run.cluster import kernel_needs
from tasks.run.kubernetes import manifests
from tasks.run.node import kinds
from tasks.topology import check, choice
from tasks.topology.schema import Topology

WARNINGS = 5  # of one topology
DNS_OVERLAYS = ("dns", "coredns")
# What the packages or the script of another overlay with a DNS server speak of.
DNS_WORDS = re.compile(r"coredns|dnsmasq|resolv\.conf")


def warn(project: Project) -> None:
    """Warn of numbers of nodes that the topology is not made for: they may be meant, but break promises."""
    topology = project.definitions.topologies.get(project.settings.topology)
    packed = iso_choice.recorded(project.workspace.choice(project.settings.name))
    shape = choice.shape(project.settings, packed=packed.env if packed else {})
    problems = check.in_cluster(topology, shape) if topology else []
    unpacked = _unpacked(project, iso_words.choose(project))
    problems = problems[:WARNINGS] + (_not_packed(unpacked, topology) if topology else [])
    for line in _passed_over(project, unpacked):
        progress.say(f"note: {line}")
    for problem in problems:
        progress.say(f"warning: topology {project.settings.topology}: {problem}")
    warn_of_kernel(project, project.settings.nodes())
    if project.settings.fakenet:
        for line in nameless(unpacked):
            progress.say(f"warning: fakenet: {line}")


def warn_of_kernel(project: Project, nodes: Iterable[Node]) -> None:
    """Warn of overlays that need of a kernel what the host's, which containers have, has not."""
    if kinds.containers(nodes):
        for line in kernel_needs.lacking(_unpacked(project, iso_words.choose(project))):
            progress.say(f"warning: {line}")


def nameless(overlays: Iterable[Overlay]) -> list[str]:
    """Why nodes with these overlays cannot ask for the names of a pretended internet, if that is so."""
    if any(_has_dns(overlay) for overlay in overlays):
        return []
    return [
        "no overlay of this ISO gives nodes a DNS server (ours is `dns`), so names may not resolve there: "
        "add it to the words of mkcdrom"
    ]


def _has_dns(overlay: Overlay) -> bool:
    script = overlay.directory / "tar"
    says = script.read_text(errors="replace") if script.is_file() else ""
    return overlay.name in DNS_OVERLAYS or bool(DNS_WORDS.search(" ".join([says, *overlay.packages])))


def _not_packed(unpacked: Iterable[Overlay], topology: Topology) -> list[str]:
    """The problem that the ISO lacks the overlay in which guests read about their topology, if it does."""
    if topology.name == PLAIN_TOPOLOGY:
        return []
    own = topology.directory.name  # another overlay of the name takes its place
    if any(overlay.name == own for overlay in unpacked):
        return []
    return [f"its overlay {own} is not on the ISO: xc mkcdrom env network-topology {own}"]


def _passed_over(project: Project, unpacked: Iterable[Overlay]) -> list[str]:
    """Where an overlay of the checkout is used, though another one of its name comes first."""
    once = {overlay.directory: overlay for overlay in unpacked}.values()
    return [
        f"{overlay.directory} is used, and not {first}, which is before it in XCLUSTER_OVLPATH and has no "
        "ovl.yaml: that one is meant by words of mkcdrom only"
        for overlay in once
        if (first := project.definitions.passed_over(overlay))
    ]


def _unpacked(project: Project, packed: iso_choice.IsoChoice) -> list[Overlay]:
    """The overlays of the ISO and of the image."""
    overlays = [part.overlay for part in iso.iso_parts(project, packed) if part.overlay]
    chain = image_chain.chain(project.definitions.images, project.settings.image)
    return overlays + ovl.of_images(project, chain)


def check_manifests(project: Project) -> None:
    """Raise UserError if pods would wait for container images that cannot come."""
    if project.settings.kubernetes:
        packed = iso_words.choose(project)
        overlays = _unpacked(project, packed)
        chain = image_chain.chain(project.definitions.images, project.settings.image)
        have = store.names([*chain, *overlays])
        made_here = not any(image.disk for image in chain)
        manifests.check(overlays, packed.setup, have, offline=project.settings.offline, all_known=made_here)
