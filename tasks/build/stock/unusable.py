"""Definitions that cannot be used ──> tasks of their names that say why, for whoever asks for them"""

import re

from tasks.engine import kit
from tasks.project.project import Project

BASENAMES = {"kernel": "kernel", "image": "image", "overlay": "ovl"}
OF_CONTAINERS = re.compile(r": images\b|container image")


def tasks(project: Project) -> kit.Tasks:
    """A task for each of them; a topology has none anyway."""
    for (kind, name), problems in sorted(project.definitions.faults.items()):
        if kind in BASENAMES:
            yield kit.refusing(BASENAMES[kind], name, problems)
            of_containers = [line for line in problems if OF_CONTAINERS.search(line)]
            if of_containers:  # `xc pull` is for all container images, and these cannot be named
                yield kit.refusing("pull", f"{BASENAMES[kind]}:{name}", of_containers)
