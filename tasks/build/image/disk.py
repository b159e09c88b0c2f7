"""A disk image made elsewhere ──image:<name>──> image/<name>.qcow2 + .json

Downloaded, unpacked and made a qcow2 in one pass. The archive stays in the cache: nothing is fetched twice.
"""

import contextlib
import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.base import files, locks, proc
from tasks.base.errors import CommandError, UserError
from tasks.build.sources import download, requested
from tasks.definitions import lockfile
from tasks.definitions.artifact_sources import Source
from tasks.definitions.schema import Disk, Image
from tasks.engine import kit
from tasks.formats import decompress, qcow2
from tasks.project.given_images import GivenImage
from tasks.project.project import Project
from tasks.project.site import Site

BLOCK = 1 << 20
FOREIGN = {
    b"KDMV": "vmdk", b"COWD": "vmdk", b"# Disk DescriptorFile": "vmdk", b"vhdxfile": "vhdx",
    b"conectix": "vpc", b"<<< ": "vdi", b"QED\0": "qed",
    b"WithoutFreeSpace": "parallels", b"WithouFreSpacExt": "parallels",
}  # fmt: skip
# Archives that cannot be unpacked while they come, and rare ones.
ARCHIVES = {
    b"PK\3\4": "zip", b"PK\5\6": "zip", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar", b"\x89LZO\0": "lzop",
    b"MSWIM\0\0\0": "wim",
}  # fmt: skip


@dataclass(frozen=True)
class DiskRequest:
    """A disk as it is built in this run."""

    name: str
    definition: Disk
    folder: Path  # that `file` sources are relative to
    pinned: lockfile.Pin

    @property
    def sha256(self) -> str:
        """What the archive has to be. Raises UserError where nothing says it, or two say different things."""
        mine, locked = self.definition.sha256, self.pinned.get("sha256")
        if mine and locked:
            lockfile.compare("image", self.name, {"sha256": locked}, {"sha256": mine})
        sha256 = mine or locked
        if sha256 is None:
            last = self.definition.sources[-1].text
            raise UserError(
                f"no sha256 is given for {last}",
                f"put its sha256 as disk.sha256 into {self.folder / 'image.yaml'}, or "
                f"`xc lock {self.name}` to fetch it once and pin what comes",
            )
        return sha256


def tasks(project: Project) -> kit.Tasks:
    """One task for each image that is a disk from outside."""
    workspace = project.workspace
    for image in disks(project):
        assert image.disk
        recipe = kit.Recipe(
            build,
            [request(project, image), project.site],
            deps=[path for source in image.disk.sources if (path := _path(source, image.directory))],
            code=(qcow2, decompress),
        )
        targets = [workspace.image(image.name), workspace.stamp("image", image.name)]
        yield kit.task(
            "image", image.name, recipe, [*targets, requested.packages_file(workspace, image.name)]
        )


def disks(project: Project) -> list[Image]:
    """The images that are made elsewhere."""
    images = project.definitions.images.values()
    return [image for image in images if image.disk and not isinstance(image, GivenImage)]


def request(project: Project, image: Image) -> DiskRequest:
    """What is asked of `image`."""
    assert image.disk
    return DiskRequest(
        image.name, image.disk, image.directory, lockfile.of(project.site.lock, "images", image.name)
    )


def _path(source: Source, folder: Path) -> Path | None:
    """The file that a source is, if it is there."""
    path = folder / source.file if source.file else None
    return path if path and path.is_file() else None


def build(disk: DiskRequest, site: Site) -> None:
    """Fetch the disk image and unpack it on the way"""
    sha256, out = disk.sha256, site.workspace.image(disk.name)
    with locks.locked(out.with_suffix(".lock")), files.atomic(out) as temp:
        unpacked = _Disk(temp, disk.definition)
        sink = decompress.Unpacker(unpacked.take, f"image {disk.name}", out)
        try:
            origin = get(disk, sha256, site, sink)
            sink.finish()
        finally:
            sink.abort()
        unpacked.check(f"image {disk.name}")
    files.write_json(requested.packages_file(site.workspace, disk.name), {"packages": []})
    stamp = site.workspace.stamp("image", disk.name)
    facts = {"source": origin, "archive": sha256, "root": disk.definition.root, "packages": []}
    files.write_stamp(stamp, {"qcow2": out}, **facts)


def get(disk: DiskRequest, sha256: str, site: Site, sink: decompress.Unpacker | None = None) -> str:
    """The archive into the cache, from the first source that has it; which one had."""
    urls, content = places(disk, site), site.workspace.content(sha256)
    if content.is_file() and (sink is None or download.replayed(content, sha256, sink)):
        return "cache"
    if not urls or (site.offline and any(not url.startswith("file:") for url in urls)):
        why = "--offline is set, and it is not in the cache" if urls else "none of its files is there"
        tried = "\n".join(f"  {source.text}" for source in disk.definition.sources)
        raise UserError(f"image '{disk.name}': {why}; its sources:\n{tried}", f"put the file at {content}")
    return download.shown(download.download(urls, sha256, content, sink, site.download_timeout))


def places(disk: DiskRequest, site: Site) -> list[str]:
    """The URLs to ask, in order."""
    urls = []
    for source in disk.definition.sources:
        path = _path(source, disk.folder)
        urls += [path.absolute().as_uri()] if path else []
        urls += download.mirrored(source.url, site.mirrors) if source.url else []
    return urls


class _Disk:
    """What is unpacked, written as a qcow2."""

    def __init__(self, out: Path, disk: Disk) -> None:
        self._out = out
        self._disk = disk
        self._foreign = False  # it was a qcow2 already
        self.size = 0  # bytes of the disk
        self.sha256 = ""

    def take(self, reader: IO[bytes]) -> None:
        """Read the image to its end."""
        source = _member(reader, self._disk.member) if self._disk.member else reader
        first = source.read(BLOCK)
        seen = hashlib.sha256(first) if self._disk.unpacked else None
        self._foreign = recognised(first)
        with self._open() as out:
            chunk = first
            while chunk:
                out.write(chunk)
                chunk = source.read(BLOCK)
                if seen:
                    seen.update(chunk)
        self.sha256 = seen.hexdigest() if seen else ""
        self.size = 0 if isinstance(out, _Plain) else out.size

    def _open(self) -> "contextlib.AbstractContextManager[_Plain | qcow2.DiskWriter]":
        self._out.unlink(missing_ok=True)
        return _Plain(self._out) if self._foreign else qcow2.DiskWriter(self._out)

    def check(self, what: str) -> None:
        """Raise UserError when the image is not the one that was asked for, or none."""
        expected = self._disk.unpacked
        if expected and self.sha256 != expected:
            raise UserError(
                f"{what}: the unpacked image is not the expected one\n  expected sha256 {expected}\n"
                f"  got      sha256 {self.sha256}",
                "if the archive is right, put this sha256 into the definition as disk.unpacked",
            )
        if self._foreign:
            qcow2.refuse(self._out, what)
            try:
                proc.output(["qemu-img", "check", "-q", "-f", "qcow2", str(self._out)])
            except CommandError as error:
                raise UserError(f"{what}: a damaged qcow2: {error}") from error


class _Plain:
    """Writes what comes, zeros as holes."""

    def __init__(self, out: Path) -> None:
        self._file = out.open("wb")

    def __enter__(self) -> "_Plain":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.truncate()
        self._file.close()

    def write(self, data: bytes) -> None:
        """The next bytes."""
        if data.count(0) == len(data):
            self._file.seek(len(data), 1)
        else:
            self._file.write(data)


def recognised(first: bytes) -> bool:
    """Whether this begins a qcow2. Raises UserError for what is no disk."""
    if first.startswith(qcow2.MAGIC):
        return True
    other = next((kind for magic, kind in FOREIGN.items() if first.startswith(magic)), None)
    if first[257:262] == b"ustar":
        raise UserError("it is a tar archive", "add the path of the image in it: disk.member")
    packed = next((kind for magic, kind in ARCHIVES.items() if first.startswith(magic)), None)
    if packed:
        raise UserError(f"{packed} archives are not supported", "compress the image with xz or zstd")
    if other:
        raise UserError(f"it is a {other} image", f"convert it: qemu-img convert -f {other} -O qcow2 OLD NEW")
    if len(first) < 512:
        raise UserError(f"{len(first)} bytes are too few for a disk image")
    if not any(first):
        return False
    if first[:1] == b"<" or first.lstrip()[:9].lower() in (b"<!doctype", b"<html"):
        raise UserError(
            "it is a text, not a disk image",
            "the server may have answered with an error page: open the URL in a browser",
        )
    return False


def _member(reader: IO[bytes], name: str) -> IO[bytes]:
    """The file `name` of a tar that is read as it comes; nothing is ever written by a path in it."""
    tar = tarfile.open(fileobj=reader, mode="r|")
    names = []
    for member in tar:
        if member.name.removeprefix("./") == name:
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise UserError(f"'{name}' is in the tar, but it is not a regular file")
            return content
        names.append(member.name)
    raise UserError(f"the tar has no '{name}'", f"it has: {', '.join(names[:20]) or 'nothing'}")
