"""Definitions that cannot be used ──> tasks of their names that say why, for whoever asks for them"""

from tasks.engine import kit
from tasks.project.project import Project

BASENAMES = {"kernel": "kernel", "image": "image", "overlay": "ovl"}


def tasks(project: Project) -> kit.Tasks:
    """A task for each of them; a topology has none anyway."""
    for (kind, name), problems in sorted(project.definitions.faults.items()):
        if kind in BASENAMES:
            yield kit.refusing(BASENAMES[kind], name, problems)
