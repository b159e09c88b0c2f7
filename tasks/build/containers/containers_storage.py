"""Images of an OCI layout ──> a store as podman, cri-o and skopeo have theirs, to be used read-only.

It is what `additionalimagestores` in storage.conf takes, for the driver `overlay`. Written here and not by
podman: that needs root, or sub-ids of the user, and gives other bytes each time.
"""

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.base.errors import UserError
from tasks.build.containers import layers, oci
from tasks.formats import compressed

LINK = 26  # characters of a layer's short name: mount options have only a page for all layers
COMPRESSION = {compressed.BZIP2: 1, compressed.GZIP: 2, compressed.XZ: 3}  # containers/storage's numbers
COMPRESSION_ZSTD = 4
NEVER = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Stored:
    """One image: what it is called, its manifest, and the index that it was chosen from."""

    names: tuple[str, ...]
    digest: str
    top: str


@dataclass(frozen=True)
class _Layer:
    id: str  # of it and all below: the same in every store
    parent: "_Layer | None"
    blob: oci.Descriptor
    diff_id: str

    @property
    def link(self) -> str:
        """Its short name."""
        return base64.b32encode(bytes.fromhex(self.id)).decode()[:LINK]

    @property
    def lower(self) -> list[str]:
        """The short names of the layers below, the next one first."""
        return [f"l/{self.parent.link}", *self.parent.lower] if self.parent else []


class StorageWriter:
    """Writes a store to a tar, below the directory `root`."""

    def __init__(self, layout: oci.Layout, out: tarfile.TarFile, root: str, epoch: int) -> None:
        self._layout, self._out, self._root, self._epoch = layout, out, root, epoch
        self._looked: dict[str, layers.Layer] = {}  # by id

    def write(self, images: Sequence[Stored]) -> None:
        """All of it. UserError when a layer is damaged."""
        chains = {image.digest: _chain(self._layout, image.digest) for image in images}
        unique = {layer.id: layer for chain in chains.values() for layer in chain}
        for folder in ("", "/overlay", "/overlay/l", "/overlay-layers", "/overlay-images"):
            self._directory(folder)
        records = [self._layer(layer) for layer in sorted(unique.values(), key=lambda layer: layer.id)]
        self._file("/overlay-layers/layers.json", _json(records))
        shown = [self._image(image, chains[image.digest]) for image in images]
        self._file("/overlay-images/images.json", _json(shown))
        for lock in ("/storage.lock", "/overlay-layers/layers.lock", "/overlay-images/images.lock"):
            self._file(lock, b"")  # nobody can make them later

    def _layer(self, layer: _Layer) -> dict[str, Any]:
        place = f"/overlay/{layer.id}"
        blob = self._layout.whole(layer.blob.digest)
        size = layers.check(blob, layer.diff_id)
        self._directory(place)
        self._file(f"{place}/link", layer.link.encode())
        if layer.lower:
            self._file(f"{place}/lower", ":".join(layer.lower).encode())
        layers.copy(self._look(layer), f"{self._root}{place}/diff", self._out, self._epoch)
        link = self._entry(f"/overlay/l/{layer.link}", tarfile.SYMTYPE, 0o777)
        link.linkname = f"../{layer.id}/diff"
        self._out.addfile(link)
        compression = _compression(blob)
        record = {
            "id": layer.id, "created": NEVER, "compressed-diff-digest": layer.blob.digest,
            "compressed-size": layer.blob.size, "diff-digest": layer.diff_id, "diff-size": size,
        }  # fmt: skip
        record |= {"parent": layer.parent.id} if layer.parent else {}
        return record | ({"compression": compression} if compression else {})

    def _look(self, layer: _Layer) -> layers.Layer:
        """The layer with those below it, each looked through once."""
        if layer.id not in self._looked:
            lower = self._look(layer.parent) if layer.parent else None
            below = (lower, *lower.below) if lower else ()
            self._looked[layer.id] = layers.look(self._layout.blob(layer.blob.digest), below)
        return self._looked[layer.id]

    def _image(self, image: Stored, chain: Sequence[_Layer]) -> dict[str, Any]:
        manifest = oci.Manifest.of(self._layout.json(image.digest), image.digest)
        config = manifest.config.digest
        number = config.removeprefix("sha256:")
        kept = {config: config, "manifest": image.digest, f"manifest-{image.digest}": image.digest}
        kept[f"manifest-{image.top}"] = image.top
        self._directory(f"/overlay-images/{number}")
        sizes = {}
        for key, digest in sorted(kept.items()):
            data = self._layout.whole(digest).read_bytes()
            self._file(f"/overlay-images/{number}/{file_name(key)}", data)
            sizes[key] = len(data)
        entry = {
            "id": number, "digest": image.digest, "names": list(image.names), "metadata": "{}",
            "big-data-names": sorted(kept), "big-data-sizes": sizes, "big-data-digests": kept,
            "created": self._layout.json(config).get("created") or NEVER,
        }  # fmt: skip
        return entry | ({"layer": chain[-1].id} if chain else {})

    def _directory(self, path: str) -> None:
        self._out.addfile(layers.directory(f"{self._root}{path}", self._epoch))

    def _file(self, path: str, data: bytes) -> None:
        entry = self._entry(path, tarfile.REGTYPE, 0o644)
        entry.size = len(data)
        self._out.addfile(entry, io.BytesIO(data))

    def _entry(self, path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(f"{self._root}{path}")
        entry.type, entry.mode, entry.mtime = kind, mode, self._epoch
        return entry


def merged(images: Sequence[Stored]) -> list[Stored]:
    """One entry for each config, as a store knows images by it; sorted."""
    by_digest: dict[str, Stored] = {}
    for image in sorted(images, key=lambda image: image.names):
        first = by_digest.get(image.digest)
        names = tuple(dict.fromkeys((*(first.names if first else ()), *image.names)))
        by_digest[image.digest] = Stored(names, image.digest, first.top if first else image.top)
    return [by_digest[digest] for digest in sorted(by_digest)]


def file_name(key: str) -> str:
    """The file of a named piece of data: as it is, or in base64 with other signs than a-z, 0-9, dot."""
    if re.fullmatch(r"[a-z0-9.]+", key):
        return key
    return "=" + base64.b64encode(key.encode()).decode()


def _chain(layout: oci.Layout, digest: str) -> list[_Layer]:
    """The layers of an image, the lowest first."""
    manifest = oci.Manifest.of(layout.json(digest), digest)
    ids = (layout.json(manifest.config.digest).get("rootfs") or {}).get("diff_ids") or []
    if len(ids) != len(manifest.layers):
        raise UserError(
            f"the image {digest} is damaged: it has {len(manifest.layers)} layers, "
            f"but its config lists {len(ids)}"
        )
    chain: list[_Layer] = []
    for blob, diff_id in zip(manifest.layers, ids, strict=True):
        below = chain[-1] if chain else None
        number = str(diff_id).removeprefix("sha256:")
        if below:
            number = hashlib.sha256(f"{below.id}+{number}".encode()).hexdigest()
        chain.append(_Layer(number, below, blob, str(diff_id)))
    return chain


def _compression(blob: Path) -> int:
    """How a layer is compressed, as containers/storage counts it; 0: not at all."""
    with blob.open("rb") as file:
        head = file.read(6)
    if compressed.is_zstd(head):
        return COMPRESSION_ZSTD
    return next((number for magic, number in COMPRESSION.items() if head.startswith(magic)), 0)


def _json(value: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
