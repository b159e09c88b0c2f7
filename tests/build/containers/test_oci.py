"""Names of images, layers in overlayfs's form, the store for guests; all without a registry."""

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.build.containers import containers_storage, layers, oci, registry_auth, registry_places, store
from tasks.build.containers.containers_storage import Stored
from tasks.build.containers.registry_places import RegistryAccess
from tasks.definitions import image_reference
from tasks.formats import squashfs
from tests.conftest import Checkout, Fakes, eventually
from tests.containers import image, tar

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("me/tool", "docker.io/me/tool:latest"),
        ("localhost/x:1", "localhost/x:1"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1"),
        ("registry.k8s.io/sig/a_b__c--d.e:v1", "registry.k8s.io/sig/a_b__c--d.e:v1"),
        (f"quay.io/x@{DIGEST}", f"quay.io/x@{DIGEST}"),
        (f"quay.io/x:1@{DIGEST}", f"quay.io/x:1@{DIGEST}"),
    ],
)
def test_names_in_full(text: str, full: str) -> None:
    assert image_reference.parse(text).text == full
    assert image_reference.parse(full).text == full


@pytest.mark.parametrize(
    "text",
    ["", "Busybox", "me/Tool", "a:", "a@sha256:12", "http://x/y", "a b", "a//b", "/a", "-a", "a:" + "t" * 129]
    + ["../a"],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="is no image"):
        image_reference.parse(text)


def test_where_an_image_is_asked_for() -> None:
    access = RegistryAccess.of("docker.io=m1 docker.io/library=http://m2:80/hub/ docker.ioo=m3", "m1")
    places = registry_places.places(image_reference.parse("busybox"), access)
    assert [place.text for place in places] == [
        "http://m2:80/hub/busybox",
        "https://m1/library/busybox",
        "https://registry-1.docker.io/library/busybox",
    ]
    assert [place.loose for place in places] == [False, True, False]
    assert registry_places.places(image_reference.parse("127.0.0.1:5000/x"), RegistryAccess())[0].loose


def test_whose_login_is_used(tmp_path: Path) -> None:
    runtime, docker = tmp_path / "run/containers/auth.json", tmp_path / ".docker/config.json"
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    hub = {"https://index.docker.io/v1/": {"auth": "YTpi"}, "r.io": {"auth": "Yzpk"}}
    files.write_json(docker, {"auths": hub})
    assert registry_auth.login("docker.io", "library/x", environ) == registry_auth.Login("a", "b")
    files.write_json(runtime, {"auths": {"r.io/team": {"auth": "ZTpm"}, "r.io": {"auth": "not base64"}}})
    assert registry_auth.login("r.io", "team/x", environ) == registry_auth.Login("e", "f")
    assert registry_auth.login("r.io", "other", environ) == registry_auth.Login("c", "d")
    assert registry_auth.login("x.io", "other", environ) is None
    assert registry_auth.login("r.io", "x", {**environ, "REGISTRY_AUTH_FILE": "/none"}) is None
    files.write_json(docker, {"credHelpers": {"r.io": "pass"}})
    assert "docker-credential-pass" in (registry_auth.helper("r.io", environ) or "")


BEARER = ("bearer", {"realm": "https://a/token", "service": "reg", "scope": "repository:a/b:pull,push"})
BEARER_TEXT = 'Bearer realm="https://a/token",service="reg",scope="repository:a/b:pull,push"'
BASIC = ("basic", {"realm": 'a, b="c"'})
BASIC_TEXT = r'Basic realm="a, b=\"c\""'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (BEARER_TEXT, [BEARER]),
        (f"{BASIC_TEXT}, {BEARER_TEXT}", [BASIC, BEARER]),
        (f"{BEARER_TEXT}, {BASIC_TEXT}", [BEARER, BASIC]),
        (f"Negotiate, NTLM, {BASIC_TEXT}", [("negotiate", {}), ("ntlm", {}), BASIC]),
        ("BASIC Realm = x , charset=UTF-8", [("basic", {"realm": "x", "charset": "UTF-8"})]),
        ("Basic", [("basic", {})]),
        (',,,"', []),
        ("", []),
    ],
)
def test_challenges(header: str, expected: object) -> None:
    assert registry_auth.challenges(header) == expected


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"auths": []}', '{"credHelpers": []}', '{"auths": {"r.io": 1}}']
)
def test_a_damaged_file_with_logins(tmp_path: Path, text: str) -> None:
    files.write_json(tmp_path / ".config/containers/auth.json", {"auths": {"r.io": {"auth": "YTpi"}}})
    (tmp_path / "run/containers").mkdir(parents=True)
    (tmp_path / "run/containers/auth.json").write_text(text)
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert registry_auth.login("r.io", "x", environ) == registry_auth.Login("a", "b")
    assert registry_auth.helper("r.io", environ) is None


def test_an_identity_token(tmp_path: Path) -> None:
    entry = {
        "auth": base64.b64encode(b"00000000-0000-0000-0000-000000000000:").decode(),
        "identitytoken": "it",
    }
    files.write_json(
        tmp_path / ".docker/config.json", {"auths": {"r.io": entry, "s.io": {"identitytoken": "i"}}}
    )
    environ = {"HOME": str(tmp_path)}
    one, two = (registry_auth.login(host, "x", environ) for host in ("r.io", "s.io"))
    assert one and two and (one.identity, two.identity) == ("it", "i")


def special(name: str, kind: bytes, **more: object) -> tarfile.TarInfo:
    """An entry of a tar that is no plain file."""
    entry = tarfile.TarInfo(name)
    entry.type = kind
    for key, value in more.items():
        setattr(entry, key, value)
    return entry


def stored(folder: Path, *contents: tuple[str, tuple[bytes, ...]]) -> tuple[oci.Layout, Path]:
    """A disk with these images: name and layers."""
    layout = oci.Layout(folder / "layout")
    images = [
        Stored((name,), digest, digest) for name, parts in contents if (digest := image(layout, *parts))
    ]
    write(layout, images, folder / "disk")
    return layout, folder / "disk"


def write(layout: oci.Layout, images: list[Stored], out: Path) -> None:
    """The disk of these images."""

    def fill(archive: tarfile.TarFile) -> None:
        containers_storage.StorageWriter(layout, archive, "storage", 7).write(
            containers_storage.merged(images)
        )

    squashfs.write(out, fill, 7)


def shown(disk: Path) -> list[dict[str, tuple[str, str, str]]]:
    """What is in the layers of a disk, the smaller first: path -> mode, owner, size or device."""
    command = ["unsquashfs", "-lln", str(disk)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    layers: dict[str, dict[str, tuple[str, str, str]]] = {}
    for line in listing.splitlines():
        layer, marked, path = line.partition("squashfs-root/storage/overlay/")[2].partition("/diff")
        if marked and "/" not in layer:
            words = re.sub(r", +", ",", line).split()
            layers.setdefault(layer, {})[path.lstrip("/")] = (words[0], words[1], words[2])
    return sorted(layers.values(), key=len)


def unpacked(disk: Path) -> Path:
    """The disk's content."""
    to = disk.with_name("unpacked")
    subprocess.run(["unsquashfs", "-q", "-n", "-d", str(to), str(disk)], check=True, capture_output=True)
    return to / "storage"


def test_layers_in_overlayfs_form(tmp_path: Path) -> None:
    below = tar(("etc/old", "old"), ("opt/a", "a"))
    above = tar(
        special("etc/.wh.old", tarfile.REGTYPE),
        special("opt/.wh..wh..opq", tarfile.REGTYPE),
        special("var/.wh..wh..opq", tarfile.REGTYPE),
        special("var/", tarfile.DIRTYPE, mode=0o1777, uid=3),
        special("./bin/tool", tarfile.REGTYPE, mode=0o4755, uid=5, gid=70000, mtime=1000),
        special("bin/tool2", tarfile.LNKTYPE, linkname="./bin/tool"),
        special("bin/", tarfile.DIRTYPE, mode=0o700, mtime=2000),
        special("dev/zero", tarfile.CHRTYPE, devmajor=1, devminor=5, mode=0o666),
        special("bin/caps", tarfile.REGTYPE, pax_headers={"SCHILY.xattr.user.mark": "x"}),
        special("link", tarfile.SYMTYPE, linkname="/etc/none"),
        ("twice", "first"),
        ("twice", "second!"),
    )
    _, disk = stored(tmp_path, ("localhost/a:1", (below, above)))
    lower, upper = shown(disk)
    assert set(lower) == {"", "etc", "etc/old", "opt", "opt/a"}
    assert upper["etc/old"] == ("c---------", "0/0", "0,0")
    assert upper["bin/tool"][:2] == ("-rwsr-xr-x", "5/70000")
    assert upper["bin"][0] == "drwx------"
    assert upper["var"][:2] == ("drwxrwxrwt", "3/0")
    assert upper["dev/zero"] == ("crw-rw-rw-", "0/0", "1,5")
    assert upper["twice"][2] == "7"
    assert not [name for name in upper if ".wh." in name]
    root = unpacked(disk)
    tool, tool2 = (next(root.glob(f"overlay/*/diff/bin/{name}")) for name in ("tool", "tool2"))
    assert tool.stat().st_ino == tool2.stat().st_ino and tool.stat().st_mtime == 1000
    assert os.getxattr(tool.with_name("caps"), "user.mark") == b"x"
    if os.geteuid() == 0:  # nobody else sees them
        marks = [os.getxattr(tool.parents[1] / name, "trusted.overlay.opaque") for name in ("opt", "var")]
        assert marks == [b"y", b"y"]


def test_the_store_is_what_podman_and_skopeo_know(tmp_path: Path) -> None:
    base, more = tar(("etc/base", "b")), tar(("etc/more", "m"))
    layout, disk = stored(tmp_path, ("localhost/a:1", (base, more)), ("localhost/b:2", (base,)))
    root = unpacked(disk)
    images = json.loads((root / "overlay-images/images.json").read_text())
    layers = {layer["id"]: layer for layer in json.loads((root / "overlay-layers/layers.json").read_text())}
    assert sorted(image["names"] for image in images) == [["localhost/a:1"], ["localhost/b:2"]]
    assert len(layers) == 2, "a layer of two images is there once"
    two = next(image for image in images if image["names"] == ["localhost/a:1"])
    top = layers[two["layer"]]
    assert (root / "overlay" / top["id"] / "diff/etc/more").read_text() == "m"
    (below,) = (root / "overlay" / top["id"] / "lower").read_text().split(":")
    assert (root / "overlay" / below / "etc/base").read_text() == "b"
    assert layers[top["parent"]]["compression"] == 2
    assert layout.has(two["digest"])
    assert (root / "overlay-images/images.lock").is_file(), "nobody can make it on a read-only disk"


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress, bytes])
def test_layers_of_every_compression(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    blob = tmp_path / "blob"
    plain = tar(("a", "a" * 100_000))
    blob.write_bytes(pack(plain))
    assert layers.check(blob, f"sha256:{hashlib.sha256(plain).hexdigest()}") == len(plain)


def test_a_zstd_layer_of_several_frames(tmp_path: Path) -> None:
    """As `pzstd` and zstd:chunked write them."""
    plain = tar(("a", "a" * 100_000))
    blob = tmp_path / "blob"
    blob.write_bytes(zstd.compress(plain[:5000]) + zstd.compress(plain[5000:]))
    assert layers.check(blob, f"sha256:{hashlib.sha256(plain).hexdigest()}") == len(plain)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("harm", [lambda data: data[:-20], lambda data: data[:20] + b"x" * 20 + data[40:]])
def test_a_damaged_compression(
    tmp_path: Path, pack: Callable[[bytes], bytes], harm: Callable[[bytes], bytes]
) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(harm(pack(os.urandom(100_000))))
    with pytest.raises(UserError, match="damaged"):
        layers.check(blob, "sha256:0")


def test_the_same_images_give_the_same_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    images = ("localhost/a:1", (tar(("a", "a")),)), ("localhost/b:1", (tar(("b", "b")),))
    first = stored(tmp_path / "one", *images)[1].read_bytes()
    monkeypatch.setattr("time.time", lambda: 5.0)
    old = os.umask(0o077)
    try:
        second = stored(tmp_path / "two", *reversed(images))[1].read_bytes()
    finally:
        os.umask(old)
    assert first == second


def test_an_ordinary_user_gets_the_same_disk(
    tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ("localhost/a:1", (tar(special("gone/.wh.x", tarfile.REGTYPE), ("a", "a")),))
    first = stored(tmp_path, image)[1].read_bytes()
    if os.geteuid():
        return  # it was an ordinary user
    own = shutil.which("unshare", path="/usr/bin:/bin")
    drop = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    fakes.program("unshare", f'exec {drop} {own} "$@"')
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        assert stored(Path(folder), image)[1].read_bytes() == first
    assert len(fakes.calls("unshare")) == 2


@pytest.mark.parametrize(
    ("layer", "says"),
    [(tar(("../out", "x")), "leads out of it"), (b"no tar at all" * 100, "damaged")],
)
def test_bad_layers(tmp_path: Path, layer: bytes, says: str) -> None:
    with pytest.raises(UserError, match=says):
        stored(tmp_path, ("localhost/a:1", (layer,)))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_layer_that_is_not_what_the_config_says(tmp_path: Path) -> None:
    layout = oci.Layout(tmp_path / "layout")
    digest = image(layout, tar(("a", "a")))
    manifest = layout.json(digest)
    other = gzip.compress(tar(("a", "b")), mtime=0)
    manifest["layers"][0] |= {"digest": layout.put(other), "size": len(other)}
    digest = layout.put(json.dumps(manifest).encode())
    with pytest.raises(UserError, match="is damaged"):
        write(layout, [Stored(("localhost/a:1",), digest, digest)], tmp_path / "disk")


def test_sqfstar_that_fails(tmp_path: Path, fakes: Fakes) -> None:
    fakes.program("sqfstar", "echo no room >&2; exit 3")
    with pytest.raises(UserError, match="exit code 3: no room"):
        stored(tmp_path, ("localhost/a:1", (tar(("a", "a" * 1_000_000)),)))


def test_made_images_are_reproducible(tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(tar(("a", "a")))
    digests = {oci.make(oci.Layout(tmp_path / name), file, {"Cmd": ["/a"]}, 9) for name in ("one", "two")}
    assert len(digests) == 1
    layout = oci.Layout(tmp_path / "one")
    manifest = oci.Manifest.of(layout.json(digests.pop()), "it")
    assert layout.json(manifest.config.digest)["config"] == {"Cmd": ["/a"]}


@pytest.mark.parametrize("value", [{"schemaVersion": 1}, {"config": {}, "layers": []}, {"config": {}}])
def test_manifests_that_are_none(value: dict[str, object]) -> None:
    with pytest.raises(UserError):
        oci.Manifest.of(value, "it")


STORE = "images: [{ref: localhost/a:1, tree: root, command: [/x]}]\n"


def test_the_disk_of_a_cluster_is_made_once(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", STORE)
    checkout.write("ovl/a/root/x", "x\n")
    assert checkout.good("store").tasks == {"pull:localhost/a:1", "store"}
    disk = next((checkout.workspace / "store").glob("*.squashfs"))
    before = files.sha256(disk)
    assert checkout.good("store").err == ""
    checkout.write("ovl/a/ovl.yaml", "# a comment\n" + STORE)
    assert checkout.good("store").err == ""
    disk.unlink()
    assert checkout.good("store").tasks == {"store"}
    assert files.sha256(disk) == before
    checkout.write("ovl/a/root/x", "y\n")
    assert checkout.good("store").tasks == {"pull:localhost/a:1", "store"}
    stamp = files.read_json(checkout.workspace / "store/xcluster.json")
    assert stamp["images"] == ["localhost/a:1"]
    checkout.write("ovl/a/ovl.yaml", "summary: no images\n")
    checkout.good("store")
    assert not (checkout.workspace / "store/xcluster.json").exists()


def test_the_disk_is_killed_while_it_is_written(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", STORE)
    checkout.write("ovl/a/root/x", "x\n")
    checkout.good("pull")
    slow = checkout.root / "slow"
    slow.mkdir()
    (slow / "sqfstar").write_text("#!/bin/sh\nfor out; do :; done\necho half > $out\nexec sleep 60\n")
    (slow / "sqfstar").chmod(0o755)
    running = checkout.start("store", env={"PATH": f"{slow}:{os.environ['PATH']}"})
    eventually(lambda: list((checkout.workspace / "store").glob(".*.tmp")))
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert not (checkout.workspace / "store/xcluster.json").exists()
    checkout.good("store")
    assert [path.name for path in (checkout.workspace / "store").iterdir() if path.name.startswith(".")] == []


def test_images_of_a_disk_image_and_forms(checkout: Checkout) -> None:
    checkout.write("ovl/a/root/x", "x\n")
    checkout.write("ovl/a/ovl.yaml", STORE + "image_stores: [oci]\n")
    checkout.write("ovl/b/ovl.yaml", "image_stores: [containers-storage]\n")
    checkout.write("ovl/c/ovl.yaml", "images: [{ref: localhost/c:1, tree: default}]\n")
    checkout.write("ovl/c/default/c", "c\n")
    checkout.write(
        "images/base/image.yaml",
        "summary: an image\npackages: [libc6]\nimages: [{ref: localhost/disk:1, tree: more}]\n",
    )
    checkout.write("images/base/more/y", "y\n")
    checkout.good("store")
    stamp = files.read_json(checkout.workspace / "store/xcluster.json")
    assert stamp["images"] == ["localhost/a:1", "localhost/disk:1"]
    disk = next((checkout.workspace / "store").glob("*.squashfs"))
    listing = subprocess.run(
        ["unsquashfs", "-ls", str(disk)], capture_output=True, text=True, check=True
    ).stdout
    assert "squashfs-root/oci/index.json" in listing and "squashfs-root/storage/overlay-images" in listing
    checkout.write("ovl/b/ovl.yaml", "summary: second\n")
    checkout.good("store")
    to = checkout.root / "unpacked"
    newest = max((checkout.workspace / "store").glob("*.squashfs"), key=lambda path: path.stat().st_mtime)
    subprocess.run(["unsquashfs", "-q", "-n", "-d", str(to), str(newest)], check=True, capture_output=True)
    assert [path.name for path in to.iterdir()] == ["oci"]
    index = json.loads((to / "oci/index.json").read_text())
    names = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert sorted(names) == ["localhost/a:1", "localhost/disk:1"]


def test_a_self_contained_disk_image_has_them_inside(checkout: Checkout, tmp_path: Path) -> None:
    """Its own are no part of the cluster's disk, not even where an overlay of the ISO lists them too."""
    checkout.write("ovl/a/root/x", "x\n")
    checkout.write("ovl/a/ovl.yaml", STORE + "image_stores: [oci]\n")
    checkout.write("ovl/b/ovl.yaml", "images: [{ref: localhost/b:1, tree: default}]\n")
    checkout.write(
        "images/whole/image.yaml", "summary: whole\nextends: base\noverlays: [a]\nself_contained: true\n"
    )
    checkout.write("images/more/image.yaml", "summary: more\nextends: whole\noverlays: [b]\n")
    stamp = checkout.workspace / "store/xcluster.json"
    checkout.good("mkcdrom", "a")
    checkout.good("store", env={"__image": "more"})
    assert files.read_json(stamp)["images"] == ["localhost/b:1"], "it has what is new in it outside"
    checkout.good("pull")
    store.put_inside(Workspace(checkout.workspace), ["localhost/a:1"], tmp_path, 0)
    index = json.loads((tmp_path / store.INSIDE / "index.json").read_text())
    assert [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]] == [
        "localhost/a:1"
    ]
    digest = index["manifests"][0]["digest"].removeprefix("sha256:")
    assert (tmp_path / store.INSIDE / "blobs" / "sha256" / digest).is_file()
    for name in ("whole", "more"):
        assert "localhost+a:1.json" in checkout.good("list", "--deps", "--all", f"image:{name}").out, (
            "it is made again when they change"
        )
