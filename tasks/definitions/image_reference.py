"""Names of container images: registry, repository, tag and digest."""

import re
from dataclasses import dataclass

LOCAL = "localhost"  # the registry in the names of images that are made here
HUB = "docker.io"

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>{_HOST})/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class Reference:
    """The full name of a container image; where both are there, `digest` decides and not `tag`."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """Without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def text(self) -> str:
        """In full."""
        return self.named + (f"@{self.digest}" if self.digest else "")

    @property
    def named(self) -> str:
        """With the tag, if there is one."""
        return self.name + (f":{self.tag}" if self.tag else "")

    @property
    def local(self) -> bool:
        """Whether it is an image that is made here."""
        return self.registry == LOCAL


def parse(text: str) -> Reference:
    """Read a reference as people write it: `busybox` is docker.io/library/busybox:latest.

    Raises ValueError with one sentence.
    """
    match = _REFERENCE.fullmatch(text)
    if not match:
        raise ValueError(
            f"'{text}' is no image name: expected [REGISTRY/]NAME[:TAG][@sha256:HEX], in lower case"
        )
    registry, path, tag, digest = match.group("registry", "path", "tag", "digest")
    if registry and not (re.search(r"[.:\[]", registry) or registry == LOCAL):
        registry, path = None, f"{registry}/{path}"  # it was no host, but the first part of a hub's name
    if path != path.lower():
        raise ValueError(f"'{text}' is no image name: names are in lower case")
    if registry in (None, HUB):
        registry, path = HUB, path if "/" in path else f"library/{path}"
    return Reference(registry, path, tag or (None if digest else "latest"), digest)
