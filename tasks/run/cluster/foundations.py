"""settings + words ──> the tasks that build all that the nodes of a start are made from"""

from tasks.base.errors import UserError
from tasks.base.node_names import number_of
from tasks.definitions.roles import role_of
from tasks.definitions.schema import Node
from tasks.project.project import Project
from tasks.run.node import kinds

NUMBERED = ("scaleout", "boot_vm", "xvm", "svm")  # verbs whose words are the nodes that they start


def tasks(project: Project, *, stored: bool) -> list[str]:
    """The names of the tasks. A kernel and a disk are only built where a node is a virtual machine.

    `stored`: the cluster has a disk of container images.
    """
    settings, nodes = project.settings, _nodes(project)
    machines, containers = kinds.machines(nodes), kinds.containers(nodes)
    names = [f"kernel:{settings.kernel}", f"image:{settings.image}"] if machines or not containers else []
    names += [f"rootfs:{settings.image}"] if containers and not _is_foreign(project) else []
    names += ["mkcdrom", *(["store"] if stored else [])]
    return names + (["golden"] if machines or not containers else [])


def refuse_foreign(project: Project) -> None:
    """Raise UserError for containers of an image that is a finished disk: its files are not known."""
    own = kinds.containers(_nodes(project))
    if own and _is_foreign(project):
        name = project.settings.image
        raise UserError(
            f"image '{name}' is a disk from outside, so {own[0].name} cannot be a container of it",
            "use --node=vm, or an image that is built from packages or extends one: --image=base",
        )


def _is_foreign(project: Project) -> bool:
    image = project.definitions.images.get(project.settings.image)
    return image is not None and image.disk is not None


def _nodes(project: Project) -> list[Node]:
    """The nodes that the words start; a wrong number is for the verb to tell."""
    if project.words.verb not in NUMBERED:
        return list(project.settings.nodes())
    nodes = []
    for word in project.words.args:
        try:
            number = number_of(word)
            role_of(number)
        except ValueError:
            continue
        nodes.append(project.settings.node_of(number))
    return nodes
