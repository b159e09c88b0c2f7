"""Container images pulled from a real registry, through a server that misbehaves when told to."""

import base64
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import files
from tasks.build.containers import oci
from tests.conftest import Checkout, Ran, eventually
from tests.containers import HTPASSWD, PASSWORD, Front, Hub, front, hub, image, index, tar
from tests.faults.quick_content import flip

NOISE = random.Random(1).randbytes(150_000).hex()  # does not shrink to nothing


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A registry for all tests of this file; each uses names of its own."""
    with hub(tmp_path_factory.mktemp("hub")) as server:
        yield server


@pytest.fixture
def before(registry: Hub) -> Iterator[Front]:
    """The server before it."""
    with front(registry.port) as server:
        yield server


def lists(checkout: Checkout, *refs: str) -> None:
    """Let overlay `a` list these images."""
    checkout.write("ovl/a/ovl.yaml", f"images: {json.dumps(refs)}\n")


def layout(checkout: Checkout) -> oci.Layout:
    return oci.Layout(checkout.workspace / "cache/oci")


def stamp(checkout: Checkout, ref: str) -> dict[str, object]:
    return files.read_json(checkout.workspace / "pull" / f"{ref.replace('/', '+')}.json")


def pulled(ran: Ran) -> set[str]:
    """The images that were pulled; their names are longer than the column of names."""
    return {line.split()[0][5:] for line in ran.err.splitlines() if line.startswith("pull:")}


def blobs(checkout: Checkout) -> list[str]:
    return sorted(path.name for path in (checkout.workspace / "cache/oci/blobs/sha256").glob("*"))


def test_a_tag_is_pulled_once_and_recorded(checkout: Checkout, registry: Hub, before: Front) -> None:
    base = tar(("etc/base", NOISE))
    one = registry.push("once/one:1", image(registry.layout, base, tar(("a", "a"))))
    registry.push("once/two:1", image(registry.layout, base, tar(("b", "b"))))
    refs = [f"127.0.0.1:{before.port}/once/{name}:1" for name in ("one", "two")]
    lists(checkout, *refs)
    assert pulled(checkout.good("pull")) == set(refs)
    layers = [line for line in before.layers() if line.startswith("GET")]
    assert len(layers) == len(set(line.rpartition("/")[2] for line in layers)) == 5  # 2 configs, 3 layers
    assert len(blobs(checkout)) == 7 and not [name for name in blobs(checkout) if len(name) != 64]
    assert stamp(checkout, refs[0])["top"] == one
    before.requests.clear()
    assert pulled(checkout.good("pull")) == set()
    assert before.requests == []


def test_other_programs_read_the_layout(checkout: Checkout, registry: Hub, before: Front) -> None:
    skopeo = shutil.which("skopeo")
    assert skopeo, "./xc test installs it"
    digest = registry.push("read/it:1", image(registry.layout, tar(("a", "a"))))
    ref = f"127.0.0.1:{before.port}/read/it:1"
    lists(checkout, ref)
    checkout.good("pull")
    inspection = subprocess.run(
        [skopeo, "inspect", f"oci:{layout(checkout).root}:{ref}"], capture_output=True, text=True, check=True
    )
    assert json.loads(inspection.stdout)["Digest"] == digest


@pytest.mark.parametrize("media", [oci.MANIFEST, oci.DOCKER_MANIFEST])
def test_a_digest_is_what_was_pinned(checkout: Checkout, registry: Hub, before: Front, media: str) -> None:
    digest = registry.push("pin/it:1", image(registry.layout, tar(("a", media)), media=media))
    ref = f"127.0.0.1:{before.port}/pin/it:1@{digest}"
    lists(checkout, ref)
    checkout.good("pull")
    assert stamp(checkout, ref)["digest"] == digest
    before.requests.clear()
    shutil.rmtree(checkout.workspace / "pull")
    checkout.good("pull")
    assert before.requests == [], "a digest that is in the cache needs no network"


def test_our_platform_is_taken_from_an_index(checkout: Checkout, registry: Hub, before: Front) -> None:
    mine, other = (image(registry.layout, tar(("a", arch)), arch=arch) for arch in ("amd64", "arm64"))
    top = registry.push("index/it:1", index(registry.layout, arm64=other, amd64=mine), mine, other)
    registry.push("index/other:1", index(registry.layout, arm64=other), other)
    ref = f"127.0.0.1:{before.port}/index/it:1@{top}"
    lists(checkout, ref)
    checkout.good("pull")
    assert (stamp(checkout, ref)["digest"], stamp(checkout, ref)["top"]) == (mine, top)
    lists(checkout, f"127.0.0.1:{before.port}/index/other:1")
    checkout.bad("pull", code=1, says=("has no image for linux/amd64, only for: linux/arm64",))


def test_a_tag_that_moved(checkout: Checkout, registry: Hub, before: Front) -> None:
    old = registry.push("move/it:1", image(registry.layout, tar(("a", "old"))))
    ref = f"127.0.0.1:{before.port}/move/it:1"
    lists(checkout, ref)
    checkout.good("pull")
    assert checkout.good("images", "check").out == ""
    new = registry.push("move/it:1", image(registry.layout, tar(("a", "new"))))
    assert pulled(checkout.good("pull")) == set()
    ran = checkout.bad("images", "check", code=1, says=(f"xc images update {ref}",))
    assert f"{ref} moved: it was {old}, now it is {new}" in ran.out
    # A layer that was lost is fetched by the digest that was recorded, not by the tag.
    shutil.rmtree(layout(checkout).root)
    (checkout.workspace / "pull" / f"{ref.replace('/', '+')}.json").rename(checkout.root / "kept.json")
    checkout.write(f"workspace/pull/{ref.replace('/', '+')}.json", (checkout.root / "kept.json").read_text())
    checkout.good("forget", "pull")
    checkout.good("pull")
    assert stamp(checkout, ref)["top"] == old
    checkout.good("images", "update", ref)
    assert stamp(checkout, ref)["top"] == new
    assert checkout.good("images", "check").out == ""


def test_a_tag_that_moved_and_took_the_old_image_with_it(
    checkout: Checkout, registry: Hub, before: Front
) -> None:
    old = registry.push("gone/it:1", image(registry.layout, tar(("a", "old"))))
    ref = f"127.0.0.1:{before.port}/gone/it:1"
    lists(checkout, ref)
    checkout.good("pull")
    shutil.rmtree(layout(checkout).root)
    shutil.rmtree(registry.server.repositories / "gone")
    new = registry.push("gone/it:1", image(registry.layout, tar(("a", "new"))))
    checkout.good("forget", "pull")
    checkout.bad("pull", code=1, says=("moved", old, new, f"xc images update {ref}"))
    checkout.good("images", "update", ref)
    checkout.good("pull")


def test_an_image_that_is_not_there(checkout: Checkout, before: Front) -> None:
    lists(checkout, f"127.0.0.1:{before.port}/no/such:1")
    says = (f"no registry has 127.0.0.1:{before.port}/no/such:1", "404", "manifest unknown")
    checkout.bad("pull", code=1, says=says)
    assert not (checkout.workspace / "pull").exists() or not list((checkout.workspace / "pull").iterdir())


def test_a_registry_that_does_not_answer(checkout: Checkout) -> None:
    lists(checkout, "127.0.0.1:1/no/such:1")
    checkout.bad("pull", code=1, says=("cannot reach 127.0.0.1:1/no/such:1", "connection refused"))


def test_a_connection_that_breaks_goes_on_where_it_was(
    checkout: Checkout, registry: Hub, before: Front
) -> None:
    registry.push("cut/it:1", image(registry.layout, tar(("a", NOISE))))
    lists(checkout, f"127.0.0.1:{before.port}/cut/it:1")
    before.cut = 1
    checkout.good("pull")
    ranges = [line for line in before.layers() if "bytes=" in line]
    assert len(ranges) == 1 and not ranges[0].endswith("bytes=0-")


def test_one_that_always_breaks_is_told_and_goes_on_later(
    checkout: Checkout, registry: Hub, before: Front
) -> None:
    registry.push("cuts/it:1", image(registry.layout, tar(("a", NOISE))))
    lists(checkout, f"127.0.0.1:{before.port}/cuts/it:1")
    before.cut, before.dead = 1, True
    checkout.bad("pull", code=1, says=("the connection broke", "run it again; it continues where it stopped"))
    (part,) = (checkout.workspace / "cache/oci/blobs/sha256").glob("*.part")
    have = part.stat().st_size
    before.requests.clear()
    before.dead = False
    checkout.good("pull")
    assert [line for line in before.layers() if line.endswith(f"bytes={have}-")]
    assert not [name for name in blobs(checkout) if len(name) != 64]


def test_other_bytes_than_the_digest_says(checkout: Checkout, registry: Hub, before: Front) -> None:
    registry.push("wrong/it:1", image(registry.layout, tar(("a", NOISE))))
    lists(checkout, f"127.0.0.1:{before.port}/wrong/it:1")
    before.wrong = True
    checkout.bad("pull", code=1, says=("not the expected content", "expected sha256:", "got      sha256:"))
    assert len(blobs(checkout)) == 1  # the manifest
    before.wrong = False
    checkout.good("pull")


@pytest.mark.parametrize("quietly", [False, True], ids=["told by its time", "told by its hash alone"])
@pytest.mark.parametrize("which", ["layer", "config", "manifest"])
def test_a_blob_that_changed_on_the_disk_is_pulled_again(
    checkout: Checkout, registry: Hub, before: Front, which: str, quietly: bool
) -> None:
    name = f"rot/{which}{quietly:d}:1".lower()
    digest = registry.push(name, image(registry.layout, tar(("a", NOISE))))
    lists(checkout, f"127.0.0.1:{before.port}/{name}")
    checkout.good("pull")
    manifest = layout(checkout).json(digest)
    blob = {"layer": manifest["layers"][0]["digest"], "config": manifest["config"]["digest"]}.get(
        which, digest
    )
    path = layout(checkout).blob(blob)
    right = path.read_bytes()
    flip(path, quietly=quietly)
    checkout.write("xcluster.yaml", "ovls: a\n")
    ran = checkout.good("store")
    assert "changed on the disk" in ran.err, ran.err
    assert path.read_bytes() == right
    assert "pull:" not in checkout.good("store").err


def test_killed_and_run_again(checkout: Checkout, registry: Hub, before: Front) -> None:
    digest = registry.push("kill/it:1", image(registry.layout, tar(("a", NOISE))))
    ref = f"127.0.0.1:{before.port}/kill/it:1"
    lists(checkout, ref)
    before.delay = 0.2
    running = checkout.start("pull")
    eventually(lambda: list((checkout.workspace / "cache/oci").glob("blobs/sha256/*.part")))
    time.sleep(0.5)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert list((checkout.workspace / "cache/oci").glob("blobs/sha256/*.part"))
    assert not stamp(checkout, ref)
    before.delay = 0
    checkout.good("pull")
    assert stamp(checkout, ref)["digest"] == digest
    assert not [name for name in blobs(checkout) if len(name) != 64]
    assert not list((checkout.workspace / "pull").glob("*.lock"))


def test_a_registry_with_users(checkout: Checkout, tmp_path: Path) -> None:
    passwords = tmp_path / "htpasswd"
    passwords.write_text(HTPASSWD)
    with hub(tmp_path, htpasswd=str(passwords)) as secret:
        ref = f"127.0.0.1:{secret.port}/team/app:1"
        login = tmp_path / "auth.json"
        where = {"REGISTRY_AUTH_FILE": str(login)}

        def write(key: str, password: str) -> None:
            pair = base64.b64encode(f"me:{password}".encode()).decode()
            login.write_text(json.dumps({"auths": {key: {"auth": pair}}}))

        write("hub", PASSWORD)
        old = os.environ.get("REGISTRY_AUTH_FILE")
        os.environ["REGISTRY_AUTH_FILE"] = str(login)
        try:
            secret.push("team/app:1", image(secret.layout, tar(("a", "a"))))
        finally:
            os.environ.pop("REGISTRY_AUTH_FILE")
            if old:
                os.environ["REGISTRY_AUTH_FILE"] = old
        lists(checkout, ref)
        checkout.bad("pull", code=1, says=("401", "podman login"))
        write(f"127.0.0.1:{secret.port}", "wrong")
        checkout.bad("pull", code=1, says=("401",), env=where)
        write(f"127.0.0.1:{secret.port}/team", PASSWORD)
        checkout.good("pull", env=where)


def test_a_token_is_fetched_where_the_registry_says(checkout: Checkout, registry: Hub, before: Front) -> None:
    registry.push("token/it:1", image(registry.layout, tar(("a", "a"))))
    lists(checkout, f"127.0.0.1:{before.port}/token/it:1")
    before.token = "let-me-in"
    checkout.good("pull")
    assert [line for line in before.requests if line.startswith("GET /token?service=s&scope=repository")]


def test_a_mirror_is_asked_first(checkout: Checkout, registry: Hub, before: Front) -> None:
    digest = registry.push("docker.io/library/mirrored:1", image(registry.layout, tar(("a", "a"))))
    lists(checkout, "mirrored:1")
    checkout.write(
        "xcluster.yaml", f"ovls: a b\nregistry_mirrors: docker.io=127.0.0.1:{before.port}/docker.io\n"
    )
    assert pulled(checkout.good("pull")) == {"docker.io/library/mirrored:1"}
    assert stamp(checkout, "docker.io/library/mirrored:1")["digest"] == digest
    lists(checkout, "example.invalid/x:1")
    mirrors = f"ovls: a b\nregistry_mirrors: example.invalid=127.0.0.1:{before.port}/none\n"
    checkout.write("xcluster.yaml", mirrors)
    checkout.bad("pull", code=1, says=("404", "https://example.invalid/x: there is no host of that name"))
    checkout.write("xcluster.yaml", "ovls: a b\nregistry_mirrors: docker.io\n")
    checkout.bad("pull", code=2, says=("registry_mirrors",))


def test_offline(checkout: Checkout, registry: Hub, before: Front) -> None:
    registry.push("off/it:1", image(registry.layout, tar(("a", "a"))))
    lists(checkout, f"127.0.0.1:{before.port}/off/it:1")
    offline = {"__offline": "yes"}
    checkout.bad("pull", code=1, says=("is not in the cache, and --offline is set",), env=offline)
    assert before.requests == []
    checkout.good("pull")
    before.requests.clear()
    shutil.rmtree(checkout.workspace / "pull")
    checkout.bad("pull", code=1, says=("is not in the cache",), env=offline)  # what the tag was is not known
    assert before.requests == []


def test_what_is_wrong_in_definitions(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", "images: [UPPER, {ref: x, tree: t}]\n")
    checkout.bad("pull", code=2, says=("'UPPER' is no image", "is called localhost/NAME:TAG, not"))
    checkout.write(
        "ovl/a/ovl.yaml", "images: [{ref: localhost/x, tree: none}, {ref: localhost/y, overlay: c}]\n"
    )
    checkout.bad("pull", code=2, says=("there is no directory", "unknown overlay 'c' (known: a, b)"))
    checkout.write("ovl/a/ovl.yaml", "images: [{ref: localhost/x, tree: default}]\n")
    checkout.write("ovl/b/ovl.yaml", "images: [{ref: localhost/x, overlay: a}]\n")
    checkout.bad(
        "pull",
        code=2,
        says=(
            "ovl/b/ovl.yaml",
            "'localhost/x:latest' is made in two ways",
            "ovl/a/ovl.yaml",
        ),
    )
