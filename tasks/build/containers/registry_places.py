"""Where container images are asked for: mirrors and the registry itself, by the settings."""

import re
from dataclasses import dataclass
from typing import ClassVar

from tasks.base import patience
from tasks.definitions import image_reference

LOOPBACK = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?")


@dataclass(frozen=True)
class RegistryAccess:
    """How registries are reached; this does not decide what comes out."""

    NO_INPUT: ClassVar = True

    mirrors: tuple[tuple[str, str], ...] = ()  # (prefix of a name, what stands there instead)
    insecure: tuple[str, ...] = ()  # hosts whose certificate is not checked, or that have none
    timeout: float = patience.SECONDS  # seconds with next to nothing, after which one is given up

    @classmethod
    def of(cls, mirrors: str, insecure: str, timeout: float = patience.SECONDS) -> "RegistryAccess":
        """From settings: `PREFIX=[http://]HOST[/PATH] ...` and `HOST ...`."""
        pairs = [tuple(word.split("=", 1)) for word in mirrors.split()]
        return cls(tuple((pair[0], pair[1]) for pair in pairs), tuple(insecure.split()), timeout)


@dataclass(frozen=True)
class Mirror:
    """One repository of one registry."""

    url: str  # https://host[:port]
    repository: str
    login_as: tuple[str, str]  # registry and repository in the files with logins
    loose: bool = False  # any certificate will do, or none and http

    @property
    def text(self) -> str:
        """For messages."""
        return f"{self.url}/{self.repository}"


def places(reference: image_reference.Reference, access: RegistryAccess) -> list[Mirror]:
    """Where to ask for an image, in order: mirrors of the longest prefix first, the registry itself last."""
    whole = reference.name
    fits = [pair for pair in access.mirrors if f"{whole}/".startswith(f"{pair[0].rstrip('/')}/")]
    mirrors = []
    for prefix, instead in sorted(fits, key=lambda pair: -len(pair[0])):
        scheme, _, rest = instead.rpartition("://")
        host, _, path = f"{rest.rstrip('/')}{whole[len(prefix.rstrip('/')) :]}".partition("/")
        mirrors.append(_place(host, path, access, scheme, host))
    host = "registry-1.docker.io" if reference.registry == image_reference.HUB else reference.registry
    return [*mirrors, _place(host, reference.repository, access, "", reference.registry)]


def _place(host: str, repository: str, access: RegistryAccess, scheme: str, login: str) -> Mirror:
    loose = host in access.insecure or LOOPBACK.fullmatch(host) is not None
    return Mirror(f"{scheme or 'https'}://{host}", repository, (login, repository), loose)
