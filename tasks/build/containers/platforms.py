"""A manifest, or an index of many ──> the manifest for our platform; an image for another one is refused.

Who asks says how manifests and configs are read: from a registry, or from the layout.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from tasks.base.errors import UserError
from tasks.build.containers import oci

DEPTH = 4  # indexes in indexes
MOST = 50  # manifests to look at
ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
ATTESTATION = "vnd.docker.reference.type"  # an annotation


class Reader(Protocol):
    """Where manifests and configs are read."""

    def manifest(self, digest: str) -> Mapping[str, Any]:
        """A manifest or an index."""

    def config(self, descriptor: oci.Descriptor) -> Mapping[str, Any]:
        """The config that a manifest names."""


def choose(reader: Reader, top: str, what: str) -> str:
    """The digest of the manifest for our platform. Raises UserError, which names those that there are."""
    others: dict[str, None] = {}
    left = MOST
    for digest in _manifests(reader, top, what, others, 0):
        platform = _of_config(reader, digest, what)
        if platform == oci.PLATFORM:
            return digest
        others["/".join(platform)] = None
        left -= 1
        if not left:
            break
    raise UserError(
        f"{what} has no image for {'/'.join(oci.PLATFORM)}, only for: {', '.join(others) or 'nothing'}",
        "nodes have x86-64 processors: another tag, or another image, may be for these",
    )


def _manifests(reader: Reader, digest: str, what: str, others: dict[str, None], depth: int) -> Iterator[str]:
    """Manifests of images that may be for our platform, the best first; platforms of others into `others`."""
    value = reader.manifest(digest)
    if not oci.is_index(value):
        yield digest
        return
    if depth == DEPTH:
        raise UserError(f"{what} is an index in an index, more than {DEPTH} deep")
    entries = value.get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{what} is a damaged index: its manifests are no list of descriptors")
    for entry in sorted(entries, key=_rank):
        platform = _named(entry)
        if platform in (oci.PLATFORM, None):
            yield from _manifests(reader, oci.Descriptor.of(entry).digest, what, others, depth + 1)
        elif "unknown" not in platform:
            others["/".join(platform)] = None


def _named(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """The platform in an entry of an index: system and architecture; None where it does not say."""
    if ATTESTATION in (entry.get("annotations") or {}):
        return ("unknown", "unknown")
    platform = entry.get("platform")
    return _pair(platform) if isinstance(platform, dict) and platform.get("architecture") else None


def _pair(value: Mapping[str, Any]) -> tuple[str, str]:
    architecture = str(value.get("architecture"))
    return str(value.get("os") or oci.PLATFORM[0]), ALIASES.get(architecture, architecture)


def _rank(entry: Mapping[str, Any]) -> tuple[bool, str]:
    """Entries that name a platform first, and of these the variant that needs least of a processor."""
    platform = entry.get("platform")
    variant = str(platform.get("variant") or "") if isinstance(platform, dict) else ""
    return _named(entry) is None, variant if variant != "v1" else ""


def _of_config(reader: Reader, digest: str, what: str) -> tuple[str, str]:
    """The platform of an image: what its config says, which a registry cannot change."""
    manifest = oci.Manifest.of(reader.manifest(digest), what)
    config = reader.config(manifest.config)
    layers = (config.get("rootfs") or {}).get("diff_ids") if isinstance(config.get("rootfs"), dict) else None
    if not isinstance(layers, list) or len(layers) != len(manifest.layers):
        kind = manifest.config.media or "unknown"
        raise UserError(f"{what} is not a container image: its config ({kind}) does not list its layers")
    return _pair(config) if config.get("architecture") else oci.PLATFORM
