"""Two releases, archives, ISOs, disks, overlays or directories ──diff──> which files differ, and how"""

from tasks.lib import kit, words
from tasks.lib.project import Project

VERBS = {"diff": words.Verb("diff", "what differs", "A B", {"o=": "json"}, least=2, most=2)}


def tasks(project: Project) -> kit.Tasks:
    """The verb of this module."""
    yield from ()
