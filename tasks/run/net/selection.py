"""settings ──> the network backend: as asked for, or the best that this host can do"""

import functools
import os
from collections.abc import Mapping

from tasks.base.errors import UsageError, unknown
from tasks.definitions.settings import Settings
from tasks.run.net import bridge, custom, host_support, obstacles, userspace
from tasks.run.net.protocol import NetBackend, Ports

_OWN: Mapping[str, NetBackend] = {"userspace": userspace.BACKEND, "bridge": bridge.BACKEND}
BACKENDS = (*_OWN, "custom")


def get(name: str, script: str = "") -> NetBackend:
    """The backend called `name`; `script` is the user's own, for `custom`."""
    if name not in BACKENDS:
        raise UsageError(unknown("network backend", name, BACKENDS))
    return custom.Custom(script) if name == "custom" else _OWN[name]


def of(settings: Settings) -> NetBackend:
    """The backend of these settings; `auto` is decided."""
    return get(decide(settings)[0], settings.net_setup)


def decide(settings: Settings) -> tuple[str, str]:
    """The backend to use, and why in a few words. For `auto` what this host can do is tried, once a run."""
    if settings.net != "auto":
        return settings.net, "as asked for"
    if settings.net_setup:
        return "custom", "net_setup is set"
    if any(node.kind == "container" for node in settings.nodes()) and _best()[0] != "bridge":
        return "bridge", "containers need it"  # which says what is missing
    return _best()


@functools.cache
def _best() -> tuple[str, str]:
    missing = obstacles.of_bridges()
    if missing:
        return "userspace", f"no bridges: {missing[0].partition(': apt-get')[0]}"
    return "bridge", str(host_support.choice())


def unused(settings: Settings) -> list[str]:
    """What is wrong with a `net_setup` that the backend of these settings does not use."""
    if not settings.net_setup or settings.net == "custom":
        return []
    return custom.Custom(settings.net_setup).preflight((), Ports(0, None))


def decided(settings: Settings) -> Settings:
    """The same settings with the backend by name, and the user's program by its whole path."""
    name, _ = decide(settings)
    script = os.path.abspath(settings.net_setup) if settings.net_setup else ""
    if (settings.net, settings.net_setup) == (name, script):
        return settings
    return settings.model_copy(update={"net": name, "net_setup": script})
