"""Disk images from outside: downloaded, unpacked and made a qcow2 in one pass; whole or not at all."""

import gzip
import hashlib
import io
import json
import lzma
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.image import disk
from tasks.build.sources import web
from tasks.definitions.artifact_sources import Source
from tasks.definitions.schema import Disk
from tasks.formats import qcow2
from tasks.project.site import Site
from tests.conftest import ROOT
from tests.webserver import Handler, Server, dropping, serving

SIZE = (8 << 20) + 512  # bytes; the last cluster is not full


def picture() -> bytes:
    """A raw disk: data with holes between."""
    image = bytearray(SIZE)
    noise = random.Random(1)
    for at in (0, 70_000, 3 << 20, SIZE - 512):
        image[at : at + 400_000] = noise.randbytes(min(400_000, SIZE - at))
    return bytes(image)


RAW = picture()


PACKERS = {
    "bz2": "bzip2 -c",
    "lz4": "lz4 -q -c",
    "legacy lz4": "lz4 -q -l -c",
    "lzma": "xz --format=lzma -0 -c",
    "gz of two members": "dd bs=1M count=3 iflag=fullblock status=none | gzip -1 -c; gzip -1 -c",
    "gz with trailing bytes": "gzip -1 -c; echo garbage",
    "gz with trailing zeros": "gzip -1 -c; head -c 600 /dev/zero",
    "xz with padding": "xz -0 -c; head -c 8 /dev/zero",
    "zst with a frame to skip": r"printf '\120\052\115\030\004\0\0\0abcd'; zstd -q -c",
    "zst with a long window": "zstd -q --ultra --long=31 -1 -c",
}


def packed(how: str, raw: bytes = RAW) -> bytes:
    """The image as somebody would publish it."""
    if how in ("plain", "gz", "xz"):
        return gzip.compress(raw) if how == "gz" else lzma.compress(raw) if how == "xz" else raw
    if how in PACKERS:
        return bytes(subprocess.run(["sh", "-c", PACKERS[how]], input=raw, stdout=-1, check=True).stdout)
    if how == "zst":
        return bytes(subprocess.run(["zstd", "-q", "-c"], input=raw, stdout=-1, check=True).stdout)
    return tarred({"disk.raw": raw}, how)


def tarred(content: dict[str, bytes], how: str = "tar.xz") -> bytes:
    """A tar of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{how.partition('.')[2]}") as tar:  # type: ignore[call-overload]
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A workspace, and no proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(web, "PAUSE", 0.01)
    return Site(Workspace(tmp_path / "w"), "bookworm")


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the image as xz."""
    with serving(packed("xz")) as web:
        yield web


def request_of(folder: Path, *places: str, body: bytes | None = None, **keys: str) -> disk.DiskRequest:
    """A definition; `body` gives its sha256."""
    sources = tuple(Source(url=p) if "://" in p else Source(file=p) for p in places)
    sha256 = sha(packed("xz") if body is None else body)
    return disk.DiskRequest("k8s", Disk(**{"sources": sources, "sha256": sha256, **keys}), folder, {})  # type: ignore[arg-type]


def raw_of(site: Site, folder: Path) -> bytes:
    """What is in the image, as QEMU reads it."""
    image = site.workspace.image("k8s")
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(image)], check=True)
    words = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(folder / "raw")]
    subprocess.run(words, check=True)
    return (folder / "raw").read_bytes()


def left(site: Site) -> list[str]:
    """All files of the workspace but the cache's and stamps."""
    return sorted(
        str(path.relative_to(site.workspace.root)) for path in files.tree_files(site.workspace.root)
    )


@pytest.mark.parametrize("how", ["plain", "gz", "xz", "zst", "tar", "tar.xz", "tar.gz", "tar.bz2", *PACKERS])
def test_every_packing(site: Site, tmp_path: Path, how: str) -> None:
    body = packed(how)
    (tmp_path / "image").write_bytes(body)
    keys = {"member": "disk.raw"} if how.startswith("tar") else {}
    disk.build(request_of(tmp_path, "image", body=body, unpacked=sha(RAW), **keys), site)
    assert raw_of(site, tmp_path) == RAW
    assert site.workspace.image("k8s").stat().st_size < SIZE // 2, "holes take no room"
    stamp = files.read_json(site.workspace.stamp("image", "k8s"))
    assert (stamp["archive"], stamp["root"]) == (sha(body), "/dev/vda")
    assert not [name for name in left(site) if name.endswith((".tmp", ".part", ".lock"))]


@pytest.mark.parametrize("how", ["plain", "xz"])
def test_a_qcow2_stays_one(site: Site, tmp_path: Path, how: str) -> None:
    (tmp_path / "raw-in").write_bytes(RAW)
    words = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", str(tmp_path / "raw-in")]
    subprocess.run([*words, str(tmp_path / "in.qcow2")], check=True)
    body = packed(how, (tmp_path / "in.qcow2").read_bytes())
    (tmp_path / "image").write_bytes(body)
    disk.build(request_of(tmp_path, "image", body=body), site)
    assert raw_of(site, tmp_path) == RAW[: SIZE // 512 * 512]


def test_the_same_bytes_each_time(site: Site, tmp_path: Path, server: Server) -> None:
    want = request_of(tmp_path, f"{server.url}/hd.img.xz")
    disk.build(want, site)
    first = site.workspace.image("k8s").read_bytes()
    disk.build(want, site)
    assert site.workspace.image("k8s").read_bytes() == first
    assert len(server.requests) == 1, "the second build takes the archive from the cache"


def test_a_node_can_use_it_as_backing_file(site: Site, tmp_path: Path, server: Server) -> None:
    disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    top = tmp_path / "top.qcow2"
    backing = ["-F", "qcow2", "-b", str(site.workspace.image("k8s"))]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(top)], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(top), str(tmp_path / "raw")], check=True)
    assert (tmp_path / "raw").read_bytes() == RAW


def test_broken_connections_are_resumed(site: Site, tmp_path: Path, server: Server) -> None:
    """More often than there are tries: as long as something comes, it goes on."""
    server.does["/"] = dropping(6, 131_072)  # in pieces of 64 KiB: what is not whole is lost
    disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert raw_of(site, tmp_path) == RAW
    assert len(server.requests) == 7
    assert server.sent < len(server.body) * 1.3, "little came twice"


def test_no_range(site: Site, tmp_path: Path, server: Server) -> None:
    server.ranges = False
    server.does["/"] = dropping(2, 200_000)
    disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert raw_of(site, tmp_path) == RAW


@pytest.mark.parametrize("conditions", [True, False])
def test_a_file_that_changes_between_two_parts_is_not_spliced(
    site: Site, tmp_path: Path, server: Server, conditions: bool
) -> None:
    """A server that knows If-Range sends all of it; one that does not is found out by the ETag."""
    old, new = b"o" * 300_000, server.body
    server.conditions = conditions

    def act(handler: Handler) -> None:
        server.body, server.etag = (old, '"old"') if len(server.requests) == 1 else (new, '"new"')
        handler.good(until=100_000 if len(server.requests) == 1 else None)

    server.does["/"] = act
    disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert raw_of(site, tmp_path) == RAW


def test_a_bad_beginning_from_an_earlier_run(site: Site, tmp_path: Path, server: Server) -> None:
    """Not spliced, and the same run gets it right."""
    server.etag = ""
    content = site.workspace.content(sha(server.body))
    content.parent.mkdir(parents=True)
    content.with_name(f"{content.name}.part").write_bytes(b"x" * 1000)
    disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert raw_of(site, tmp_path) == RAW


def nothing_made(site: Site) -> bool:
    """No image and no stamp, and no file of a build that ended."""
    names = [path.name for path in files.tree_files(site.workspace.root) if not path.name.endswith(".json")]
    leftover = site.workspace.image("k8s").exists() or site.workspace.stamp("image", "k8s").exists()
    return not leftover and not [name for name in names if name.endswith((".tmp", ".lock"))]


def wrong(handler: Handler) -> None:
    handler.reply(200, lzma.compress(b"something else" * 1000))


def short(handler: Handler) -> None:
    body = handler.state.body
    handler.good(until=len(body) // 2, length=len(body) // 2)


def longer(handler: Handler) -> None:
    handler.reply(200, handler.state.body + b"and more")


def page(handler: Handler) -> None:
    handler.reply(200, b"<!DOCTYPE html><title>Please log in</title>" * 50)


@pytest.mark.parametrize("act", [wrong, short, longer, page])
def test_wrong_bytes(site: Site, tmp_path: Path, server: Server, act: object) -> None:
    server.does["/"] = act  # type: ignore[assignment]
    with pytest.raises(UserError, match="not the expected content") as caught:
        disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert sha(server.body) in str(caught.value)
    assert nothing_made(site)


def test_a_loop_of_redirects(site: Site, tmp_path: Path, server: Server) -> None:
    server.does["/"] = lambda handler: handler.reply(302, headers={"Location": "/again"})
    with pytest.raises(UserError, match="redirect"):
        disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert nothing_made(site)


def test_a_redirect_is_followed_and_resumed(site: Site, tmp_path: Path, server: Server) -> None:
    server.does["/old"] = lambda handler: handler.reply(302, headers={"Location": "/hd.img.xz"})
    server.does["/hd"] = dropping(2, 262_144)
    disk.build(request_of(tmp_path, f"{server.url}/old"), site)
    assert raw_of(site, tmp_path) == RAW
    assert server.sent < len(server.body) * 1.3


def test_busy_servers_are_asked_again(site: Site, tmp_path: Path, server: Server) -> None:
    def act(handler: Handler) -> None:
        busy = len(server.requests) < 3
        handler.reply(503, headers={"Retry-After": "0"}) if busy else handler.good()

    server.does["/"] = act
    disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert len(server.requests) == 3


def test_slow(site: Site, tmp_path: Path, server: Server) -> None:
    server.chunk, server.pause = 200_000, 0.05
    disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert raw_of(site, tmp_path) == RAW


def test_an_archive_that_is_damaged_where_it_was_made(site: Site, tmp_path: Path) -> None:
    body = packed("xz")[:-100]
    (tmp_path / "image").write_bytes(body)
    with pytest.raises(UserError, match="cannot be unpacked"):
        disk.build(request_of(tmp_path, "image", body=body), site)
    assert nothing_made(site)


def test_another_image_in_the_archive(site: Site, tmp_path: Path, server: Server) -> None:
    with pytest.raises(UserError, match="unpacked image is not the expected") as caught:
        disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz", unpacked="1" * 64), site)
    assert "1" * 64 in str(caught.value) and sha(RAW) in str(caught.value)
    assert nothing_made(site)


def backed(folder: Path) -> bytes:
    """A qcow2 that reads a file of the host."""
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", str(folder / "b")]
    subprocess.run([*words, "1M"], check=True)
    return (folder / "b").read_bytes()


def elsewhere(folder: Path) -> bytes:
    """A qcow2 with its data in another file."""
    where = f"data_file={folder}/data"
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", where, str(folder / "d"), "1M"]
    subprocess.run(words, check=True)
    return (folder / "d").read_bytes()


def zipped(folder: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("disk.raw", RAW)
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (backed, "backing file"),
        (elsewhere, "another file"),
        (zipped, "zip"),
        (lambda _: packed("tar"), "disk.member"),
        (lambda _: b"KDMV" + bytes(2000), "vmdk"),
        (lambda _: b"tiny", "too few for a disk image"),
        (lambda _: b"", "too few for a disk image"),
        (lambda _: qcow2.MAGIC + b"\xff" * 4000, "qcow2 is damaged"),
        (lambda folder: backed(folder)[:100], "qcow2"),
    ],
)
def test_what_is_no_disk(site: Site, tmp_path: Path, make: object, says: str) -> None:
    body = make(tmp_path)  # type: ignore[operator]
    (tmp_path / "image").write_bytes(body)
    with pytest.raises(UserError, match=says):
        disk.build(request_of(tmp_path, "image", body=body), site)
    assert nothing_made(site)


@pytest.mark.parametrize("name", ["../../../../etc/evil", "/etc/evil", "a/../../evil"])
def test_paths_in_a_tar_lead_nowhere(site: Site, tmp_path: Path, name: str) -> None:
    body = tarred({name: b"evil" * 500, "disk.raw": RAW})
    (tmp_path / "image").write_bytes(body)
    disk.build(request_of(tmp_path, "image", body=body, member="disk.raw"), site)
    assert raw_of(site, tmp_path) == RAW
    assert not list(tmp_path.rglob("evil")) and not Path("/etc/evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_link_in_a_tar_is_no_image(site: Site, tmp_path: Path, kind: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("disk.raw")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    (tmp_path / "image").write_bytes(out.getvalue())
    with pytest.raises(UserError, match="not a regular file"):
        disk.build(request_of(tmp_path, "image", body=out.getvalue(), member="disk.raw"), site)


def test_nothing_in_the_tar_of_that_name(site: Site, tmp_path: Path) -> None:
    body = tarred({"other.raw": RAW})
    (tmp_path / "image").write_bytes(body)
    with pytest.raises(UserError, match=r"has no 'disk.raw'[\s\S]*other.raw"):
        disk.build(request_of(tmp_path, "image", body=body, member="disk.raw"), site)


def test_no_checksum(site: Site, tmp_path: Path, server: Server) -> None:
    want = disk.DiskRequest("k8s", Disk(sources=(Source(url=f"{server.url}/hd.img.xz"),)), tmp_path, {})
    with pytest.raises(UserError) as caught:
        disk.build(want, site)
    for part in ("hd.img.xz", str(tmp_path / "image.yaml"), "disk.sha256", "xc lock k8s"):
        assert part in str(caught.value)
    assert server.requests == []
    pinned = disk.DiskRequest("k8s", want.definition, tmp_path, {"sha256": sha(server.body)})
    disk.build(pinned, site)
    assert raw_of(site, tmp_path) == RAW


def test_the_lock_says_something_else(site: Site, tmp_path: Path, server: Server) -> None:
    want = request_of(tmp_path, f"{server.url}/hd.img.xz")
    with pytest.raises(UserError) as caught:
        disk.build(disk.DiskRequest("k8s", want.definition, tmp_path, {"sha256": "2" * 64}), site)
    for part in ("2" * 64, sha(server.body), "xc lock --update k8s"):
        assert part in str(caught.value)


def test_offline(site: Site, tmp_path: Path, server: Server) -> None:
    offline = Site(site.workspace, "bookworm", offline=True)
    want = request_of(tmp_path, f"{server.url}/hd.img.xz")
    with pytest.raises(UserError) as caught:
        disk.build(want, offline)
    for part in ("--offline", f"{server.url}/hd.img.xz", str(site.workspace.content(sha(server.body)))):
        assert part in str(caught.value)
    disk.build(want, site)
    files.remove(site.workspace.image("k8s"))
    disk.build(want, offline)
    assert raw_of(site, tmp_path) == RAW


def test_a_damaged_cache_is_fetched_again(site: Site, tmp_path: Path, server: Server) -> None:
    content = site.workspace.content(sha(server.body))
    content.parent.mkdir(parents=True)
    content.write_bytes(b"rotten")
    disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert raw_of(site, tmp_path) == RAW
    assert content.read_bytes() == server.body


def test_a_damaged_cache_and_nobody_to_ask(site: Site, tmp_path: Path) -> None:
    want = request_of(tmp_path, "nowhere.xz")
    content = site.workspace.content(want.sha256)
    content.parent.mkdir(parents=True)
    content.write_bytes(b"rotten")
    with pytest.raises(UserError, match="none of its files is there") as caught:
        disk.build(want, site)
    assert str(content) in str(caught.value) and "file:nowhere.xz" in str(caught.value)
    assert nothing_made(site)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for the archive, and not for the image."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2M", "none", str(folder)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_disk_is_full_while_unpacking(small_disk: Path, site: Site, tmp_path: Path) -> None:
    raw = bytes(range(256)) * (4 << 12)  # packs well, 4 MiB
    body = packed("xz", raw)
    with serving(body) as server:
        here = Site(Workspace(small_disk / "w"), "bookworm")
        with pytest.raises(UserError, match="disk is full"):
            disk.build(request_of(tmp_path, f"{server.url}/x.xz", body=body), here)
        assert nothing_made(here)
        subprocess.run(["mount", "-o", "remount,size=20M", str(small_disk)], check=True)
        disk.build(request_of(tmp_path, f"{server.url}/x.xz", body=body), here)
    assert raw_of(here, tmp_path) == raw


CHILD = """
import json, sys
from pathlib import Path
from tasks.build.image import disk
from tasks.base.errors import UserError
from tasks.definitions.schema import Disk
from tasks.definitions.artifact_sources import Source
from tasks.base.paths import Workspace
from tasks.project.site import Site
url, sha256, folder = sys.argv[1:]
want = disk.DiskRequest("k8s", Disk(sources=(Source(url=url),), sha256=sha256), Path(folder), {})
try:
    disk.build(want, Site(Workspace(Path(folder) / "w"), "bookworm"))
except UserError as error:
    sys.exit(str(error))
"""


def child(url: str, sha256: str, folder: Path, limit: int | None = None) -> "subprocess.Popen[str]":
    """A build in a process of its own."""

    def limited() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-c", CHILD, url, sha256, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        preexec_fn=limited, env={**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"},
    )  # fmt: skip


def test_a_file_may_not_be_that_large(site: Site, tmp_path: Path) -> None:
    raw = bytes(range(256)) * (4 << 12)
    body = packed("xz", raw)
    with serving(body) as server:
        process = child(f"{server.url}/x.xz", sha(body), tmp_path, limit=1 << 20)
        output = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "larger than files may be" in output and "Traceback" not in output
    assert nothing_made(site)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.95, 1.0])
def test_killed_at_any_moment(site: Site, tmp_path: Path, server: Server, share: float) -> None:
    """What came is used again, and nothing half-made is taken for the image."""
    server.chunk, server.pause = 20_000, 0.01
    process = child(f"{server.url}/hd.img.xz", sha(server.body), tmp_path)
    end = time.monotonic() + 60
    while server.sent < share * len(server.body) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    whole = site.workspace.stamp("image", "k8s").exists()
    had = server.sent
    server.pause = 0
    disk.build(request_of(tmp_path, f"{server.url}/hd.img.xz"), site)
    assert raw_of(site, tmp_path) == RAW
    assert whole or server.sent - had <= len(server.body) - 0.8 * had + 100_000
    assert not [name for name in left(site) if name.endswith((".tmp", ".part"))]


def test_mirrors_come_first(site: Site, tmp_path: Path, server: Server) -> None:
    mirrors = {
        "https://example.invalid/": [f"{server.url}/wrong/"],
        "https://example.invalid/k8s/": [f"{server.url}/gone/", f"{server.url}/mirror/"],
    }
    server.does["/gone"] = lambda handler: handler.reply(404)
    here = Site(site.workspace, "bookworm", mirrors=mirrors)
    disk.build(request_of(tmp_path, "https://example.invalid/k8s/v1/hd.img.xz"), here)
    assert server.requests == ["/gone/v1/hd.img.xz", "/mirror/v1/hd.img.xz"]
    assert raw_of(site, tmp_path) == RAW


def test_the_house(checkout: "object", server: Server) -> None:
    """Definitions: one that cannot be built harms nobody; a right one is built once."""
    from tests.conftest import Checkout

    assert isinstance(checkout, Checkout)
    checkout.write(
        "images/k8s/image.yaml", f"summary: s\ndisk:\n  sources: [{{url: '{server.url}/hd.img.xz'}}]\n"
    )
    assert "image:k8s" in checkout.good("list", "--all").out
    checkout.bad("image:k8s", code=1, says=("disk.sha256", "images/k8s/image.yaml", "xc lock k8s"))
    text = (
        f"summary: s\ndisk:\n  sources: [{{url: '{server.url}/hd.img.xz'}}]\n  sha256: {sha(server.body)}\n"
    )
    checkout.write("images/k8s/image.yaml", text)
    env = {"no_proxy": "127.0.0.1"}
    assert checkout.good("image:k8s", env=env).tasks == {"image:k8s"}
    assert checkout.good("image:k8s", env=env).tasks == set()
    checkout.write("images/more/image.yaml", "summary: s\nextends: k8s\n")
    checkout.bad("image:more", code=2, says=("images/more/image.yaml", "'disk'"))
    checkout.good("image:k8s", env=env)
    shutil.rmtree(checkout.root / "images/more")
    checkout.write("images/k8s/image.yaml", text + "packages: [libc6]\nsize: 1G\n")
    checkout.bad("image:k8s", code=2, says=("with 'disk'", "packages, size"))
    assert json.loads(checkout.workspace.joinpath("image/k8s.packages.json").read_text()) == {"packages": []}
