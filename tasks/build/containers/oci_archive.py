"""Images of the cache ──> an OCI layout with just these, in a tar: what `ctr images import` takes."""

import io
import json
import tarfile
from collections.abc import Sequence

from tasks.build.containers import layers, oci
from tasks.build.containers.containers_storage import Stored

CONTAINERD_NAME = "io.containerd.image.name"


def write(source: oci.Layout, images: Sequence[Stored], out: tarfile.TarFile, root: str, epoch: int) -> None:
    """Write manifests, configs and layers below the directory `root`, as registries gave them."""

    def put(path: str, data: bytes) -> None:
        entry = tarfile.TarInfo(f"{root}/{path}")
        entry.size, entry.mode, entry.mtime = len(data), 0o644, epoch
        out.addfile(entry, io.BytesIO(data))

    digests: set[str] = set()
    named = []
    for image in images:
        manifest = oci.Manifest.of(source.json(image.digest), image.digest)
        digests |= {image.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)}
        size = source.whole(image.digest).stat().st_size
        media = source.json(image.digest).get("mediaType") or oci.MANIFEST
        for name in image.names:
            descriptor = {"mediaType": media, "digest": image.digest, "size": size}
            named.append({**descriptor, "annotations": {oci.NAME: name, CONTAINERD_NAME: name}})
    for folder in (root, f"{root}/blobs", f"{root}/blobs/sha256"):
        out.addfile(layers.directory(folder, epoch))
    put("oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
    put("index.json", json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": named}).encode())
    for digest in sorted(digests):
        blob = source.whole(digest)
        entry = tarfile.TarInfo(f"{root}/blobs/sha256/{blob.name}")
        entry.size, entry.mode, entry.mtime = blob.stat().st_size, 0o644, epoch
        with blob.open("rb") as data:
            out.addfile(entry, data)
