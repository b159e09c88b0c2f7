"""Rows: container registries and disk images that are odd or wrong; siblings are in tests/build."""

import bz2
import gzip
import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tasks.build.containers import oci
from tests.containers import image, index, tar
from tests.faults.case import Bench, Case
from tests.servers import SILENT, Reply, Web, as_json, certificate, listening, web

ENV = {"__download_timeout": "4"} | dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "no_proxy"), "")
BEARER = 'Bearer realm="TOKEN",service="s",scope="repository:it:pull"'
Top = Callable[[oci.Layout], str]
RAW = b"\xeb\x63\x90" + bytes(600_000) + b"disk" * 300


def mine(layout: oci.Layout) -> str:
    """An image for our platform."""
    return image(layout, tar(("a", "content")))


def other(layout: oci.Layout) -> str:
    """One for another."""
    return image(layout, tar(("a", "content")), arch="arm64")


def nested(layout: oci.Layout) -> str:
    """An index without platforms, around an index."""
    inner = index(layout, arm64=other(layout), amd64=mine(layout))
    entry = {"mediaType": oci.INDEX, "digest": inner, "size": layout.blob(inner).stat().st_size}
    return layout.put(json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [entry]}).encode())


def of_sha512(layout: oci.Layout) -> str:
    """A layer with a digest of another kind."""
    value = layout.json(mine(layout))
    value["layers"][0]["digest"] = f"sha512:{'0' * 128}"
    return layout.put(json.dumps(value).encode())


def serving(top: Top, *, challenge: str = "", busy: int = 0, tls: bool = False) -> Callable[[Bench], None]:
    """A registry of one image, which an overlay lists."""

    def prepare(bench: Bench) -> None:
        layout = oci.Layout(bench.root / "registry")
        digest = top(layout)

        def act(state: Web, method: str, path: str, headers: Mapping[str, str]) -> Reply:
            if len(state.requests) <= busy:
                return 503, {"Retry-After": "0"}, b""
            if path.startswith("/token"):
                return as_json({"access_token": "t"})
            if challenge and headers.get("Authorization") != "Bearer t":
                place = f"{'https' if tls else 'http'}://{state.host}/token"
                return 401, {"WWW-Authenticate": challenge.replace("TOKEN", place)}, b"{}"
            asked = path.rpartition("/")[2]
            return 200, {}, layout.blob(asked if ":" in asked else digest).read_bytes()

        pair = certificate(bench.root / "tls", "other.invalid") if tls else None
        lists(bench, web(act, pair).host)

    return prepare


def lists(bench: Bench, host: str) -> None:
    """An overlay that lists an image of this registry."""
    bench.write("ovl/a/ovl.yaml", f"images: ['{host}/it:1']\n")


def damaged_logins(bench: Bench) -> None:
    """docker's file was cut short."""
    bench.write("home/.docker/config.json", '{"auths": {')
    serving(mine, challenge=BEARER)(bench)


def disk(body: Callable[[Bench], bytes]) -> Callable[[Bench], None]:
    """An image that is a disk from elsewhere."""

    def prepare(bench: Bench) -> None:
        data = body(bench)
        bench.write("images/d/disk", data)
        sha256 = hashlib.sha256(data).hexdigest()
        bench.write(
            "images/d/image.yaml", f"summary: d\ndisk:\n  sha256: {sha256}\n  sources:\n    - file: disk\n"
        )

    return prepare


def qcow2(*words: str) -> Callable[[Bench], bytes]:
    """What qemu-img makes, with a file of the host that a guest must not see."""

    def make(bench: Bench) -> bytes:
        secret = Path(bench.root / "secret")
        secret.write_bytes(bytes(1 << 20))
        out = bench.root / "new"
        argv = [word.replace("SECRET", str(secret)) for word in words]
        subprocess.run(["qemu-img", "create", "-q", *argv, str(out), "1M"], check=True)
        return out.read_bytes()

    return make


def is_raw(bench: Bench) -> None:
    """The disk has the content of RAW."""
    out = bench.root / "raw"
    subprocess.run(
        ["qemu-img", "convert", "-O", "raw", str(bench.workspace / "image/d.qcow2"), str(out)], check=True
    )
    assert out.read_bytes().startswith(RAW)


def pulls(name: str, prepare: Callable[[Bench], None]) -> Case:
    """A row: the image comes."""
    return Case(name, "$xc pull", prepare=prepare, env=ENV)


def refuses(name: str, prepare: Callable[[Bench], None], *says: str) -> Case:
    """A row: it does not, and these words say why."""
    return Case(name, "$xc pull", 1, says=says, prepare=prepare, env=ENV)


def no_disk(name: str, body: Callable[[Bench], bytes], *says: str) -> Case:
    """A row: this is no disk that can be used."""
    return Case(name, "$xc image:d", 1, says=says, prepare=disk(body), env=ENV)


def saved(*names: str) -> Callable[[Bench], None]:
    """A tar with files of these names."""

    def prepare(bench: Bench) -> None:
        bench.write("it.tar", tar(*((name, "{}") for name in names)))

    return prepare


def no_content(name: str, kind: str, *names: str) -> Case:
    """A row: an archive of images is no layer of one."""
    line = "$xc images mkimage --tag=x:1 it.tar"
    return Case(name, line, 1, says=(f"it.tar is {kind}", "skopeo copy"), prepare=saved(*names), env=ENV)


CASES = [
    no_content("an OCI archive as content", "an OCI archive", "oci-layout", "index.json", "blobs/sha256/0"),
    no_content("a docker archive as content", "an archive of `docker save`", "manifest.json", "0/layer.tar"),
    refuses("an image for another processor", serving(other), "for linux/amd64, only for: linux/arm64"),
    pulls("an index in an index, without platforms", serving(nested)),
    refuses("a digest that is no sha256", serving(of_sha512), "sha512 is not supported"),
    pulls("two challenges in one header", serving(mine, challenge=f'Negotiate, Basic realm="a,", {BEARER}')),
    pulls("an insecure registry, and its token server", serving(mine, challenge=BEARER, tls=True)),
    pulls("a registry that is busy at first", serving(mine, busy=2)),
    refuses("a registry that stalls", lambda bench: lists(bench, listening(SILENT)), "given up in"),
    Case(
        "docker's logins are damaged", "$xc pull", says=("config.json are left out: ",),
        prepare=damaged_logins, env={**ENV, "DOCKER_CONFIG": ""},
    ),
    Case(
        "a disk in bzip2", "$xc image:d", prepare=disk(lambda _: bz2.compress(RAW)), left=is_raw, env=ENV
    ),
    Case(
        "a disk in gzip with bytes behind", "$xc image:d", left=is_raw, env=ENV,
        prepare=disk(lambda _: gzip.compress(RAW) + b"signature"),
    ),
    no_disk("a disk in 7z", lambda _: b"7z\xbc\xaf\x27\x1c" + bytes(600), "7z archives are not supported"),
    no_disk("a disk of VMware", qcow2("-f", "vmdk"), "it is a vmdk image", "qemu-img convert -f vmdk"),
    no_disk(
        "a qcow2 with a backing file", qcow2("-f", "qcow2", "-b", "SECRET", "-F", "raw"), "a backing file"
    ),
    no_disk(
        "a qcow2 with its data elsewhere", qcow2("-f", "qcow2", "-o", "data_file=SECRET,data_file_raw=on"),
        "has its data in another file",
    ),
]  # fmt: skip
