"""Container images as OCI has them: manifests, blobs by digest, and images made from a tar.

A cache is an OCI layout: blobs/sha256/<hex> holds manifests, configs and layers as registries gave them,
each once. Manifests are kept to the byte: their digest is the name people pin.
"""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.base import files, seals
from tasks.base.errors import UserError

PLATFORM = ("linux", "amd64")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEXES = (INDEX, DOCKER_INDEX)
NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Layout:
    """An OCI layout on disk."""

    root: Path

    def blob(self, digest: str) -> Path:
        """The file of a blob."""
        kind, _, value = digest.partition(":")
        return self.root / "blobs" / kind / value

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is there, as large as it should be, and with the content that its name says.

        What has another content is removed.
        """
        path = self.blob(digest)
        there = seals.has(path, digest.partition(":")[2], why="")
        return there and size in (None, path.stat().st_size)

    def whole(self, digest: str) -> Path:
        """The file of a blob that an image has. Raises DamagedContent if it changed on the disk."""
        path = self.blob(digest)
        return seals.content(path, digest.partition(":")[2], f"the container image's blob {path.name[:12]}")

    def json(self, digest: str) -> dict[str, Any]:
        """A manifest or config. Raises DamagedContent if it changed on the disk."""
        return parsed(self.whole(digest).read_bytes(), digest)

    def put(self, data: bytes) -> str:
        """Keep a small blob; its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if not self.has(digest, len(data)):
            with files.atomic(self.blob(digest)) as temp:
                temp.write_bytes(data)
        return digest

    def put_file(self, source: Path) -> str:
        """Keep a copy of a file; its digest."""
        digest = f"sha256:{files.sha256(source)}"
        if not self.has(digest, source.stat().st_size):
            with files.atomic(self.blob(digest)) as temp:
                shutil.copyfile(source, temp)
        return digest

    def write_index(self, named: Mapping[str, Mapping[str, Any]]) -> None:
        """Say which images there are (name -> descriptor), so that other programs can read the layout."""
        manifests = [{**entry, "annotations": {NAME: name}} for name, entry in sorted(named.items())]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
            files.write_json(self.root / name, value)


@dataclass(frozen=True)
class Descriptor:
    """Where a manifest points to."""

    digest: str
    size: int
    media: str
    urls: tuple[str, ...] = ()  # where a layer is that registries may not pass on

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Descriptor":
        """From a manifest's JSON; UserError when it is none."""
        if not isinstance(entry, Mapping):
            raise _damaged(entry)
        digest, size, urls = str(entry.get("digest")), entry.get("size"), entry.get("urls")
        kind = re.fullmatch(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):[a-zA-Z0-9=_-]+", digest)
        if kind and kind[1] != "sha256":
            raise UserError(
                f"the image's manifest has the digest {digest[:40]}: {kind[1]} is not supported, but sha256",
                "push it again with sha256, as docker, podman and skopeo do by themselves",
            )
        if type(size) is not int or size < 0 or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise _damaged(entry)
        places = tuple(map(str, urls)) if isinstance(urls, list) else ()
        return cls(digest, size, str(entry.get("mediaType", "")), places)


def _damaged(entry: object) -> UserError:
    return UserError(
        f"the image's manifest is damaged: it has an invalid descriptor: {json.dumps(entry)[:200]}"
    )


@dataclass(frozen=True)
class Manifest:
    """An image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @classmethod
    def of(cls, value: Mapping[str, Any], what: str) -> "Manifest":
        """From JSON; UserError when it is no manifest of an image."""
        if "config" not in value or not isinstance(value.get("layers"), list):
            kind = value.get("mediaType") or f"schemaVersion {value.get('schemaVersion')}"
            old = value.get("schemaVersion") == 1
            raise UserError(
                f"{what} is not a container image that can be used here ({kind})",
                "its format is older than 2016: push it again, or skopeo copy --format=oci" if old else None,
            )
        layers = tuple(Descriptor.of(layer) for layer in value["layers"])
        return cls(Descriptor.of(value["config"]), layers)

    @property
    def size(self) -> int:
        """Bytes of its blobs."""
        return sum(each.size for each in (self.config, *self.layers))


def parsed(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object; UserError for anything else."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise UserError(f"{what}: expected JSON, got {data[:60]!r}") from error
    if not isinstance(value, dict):
        raise UserError(f"{what}: expected a JSON object, got {data[:60]!r}")
    return value


def is_index(value: Mapping[str, Any]) -> bool:
    """Whether a manifest is a list of manifests, one a platform."""
    return value.get("mediaType") in INDEXES or ("manifests" in value and "layers" not in value)


def make(layout: Layout, tar: Path, options: Mapping[str, Any], epoch: int) -> str:
    """An image of one layer, the (uncompressed) `tar`; the digest of its manifest.

    `options` are keys of the config's "config": Entrypoint, Cmd, Env, WorkingDir, User. The same tar gives
    the same digest: no time but `epoch`, and no compression, whose bytes depend on the library.
    """
    layer = layout.put_file(tar)
    config = {
        "architecture": PLATFORM[1],
        "os": PLATFORM[0],
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
        "config": {key: value for key, value in sorted(options.items()) if value},
        "rootfs": {"type": "layers", "diff_ids": [layer]},
        "history": [{"created_by": "mkimage"}],
    }
    data = json.dumps(config, sort_keys=True).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, layout.put(data), len(data)),
        "layers": [_descriptor(LAYER, layer, tar.stat().st_size)],
    }
    return layout.put(json.dumps(manifest, sort_keys=True).encode())


def _descriptor(media: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media, "digest": digest, "size": size}


def missing(layout: Layout, digest: str) -> Sequence[Descriptor] | None:
    """The blobs of the image that are not in the layout; None when its manifest is not."""
    if not layout.has(digest):
        return None
    manifest = Manifest.of(layout.json(digest), digest)
    return [each for each in (manifest.config, *manifest.layers) if not layout.has(each.digest, each.size)]
