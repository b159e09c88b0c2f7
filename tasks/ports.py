"""Which ports of the host lead to the nodes of a cluster: its own while it runs, else a free range."""

from tasks import net
from tasks.lib import files
from tasks.lib.paths import Workspace
from tasks.lib.settings import Settings

SHIFT = 1000  # between the forwarded ports of two clusters
MOST_PORT = 60000


def choose(settings: Settings, workspace: Workspace) -> net.Ports:
    """The running cluster's ports, else those asked for.

    A cluster by another name than the usual one moves on to a range that nobody uses.
    """
    saved = files.read_json(workspace.cluster(settings.name).state).get("ports")
    if saved:
        return _shifted(settings, int(saved["ssh"]) - settings.ssh_base)
    others = [other for other in workspace.run.glob("*/cluster.json") if other.parent.name != settings.name]
    taken = {int(files.read_json(other).get("ports", {}).get("ssh", 0)) for other in others}
    usual = Settings.model_fields["name"].default, Settings.model_fields["ssh_base"].default
    shift = 0
    while settings.ssh_base + shift + SHIFT < MOST_PORT:
        ports = _shifted(settings, shift)
        moves = settings.name != usual[0] and settings.ssh_base == usual[1]
        if ports.ssh not in taken and not (moves and net.of(settings).preflight(settings.nodes(), ports)):
            return ports
        shift += SHIFT
    return _shifted(settings, 0)


def _shifted(settings: Settings, shift: int) -> net.Ports:
    return net.Ports(settings.ssh_base + shift, settings.telnet_base + shift if settings.telnet else None)
