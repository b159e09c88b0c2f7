"""The private registry and the verb `images`, with the real program."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.base import files, process_facts
from tasks.build.containers import oci
from tasks.build.containers.registry_server import Server
from tests.conftest import ROOT, Checkout, Fakes, eventually
from tests.containers import HTPASSWD, hub, image, program, tar
from tests.ports import free_port

MADE = "images: [{ref: localhost/team/a:1, tree: root}, {ref: localhost/team/b:1, tree: other}]\n"


@pytest.fixture
def registry(checkout: Checkout) -> Iterator[Checkout]:
    """A project whose registry is stopped at the end, with the program in place."""
    server = Server(checkout.workspace / "registry")
    server.root.mkdir(parents=True)
    os.symlink(program(), server.own_program)
    checkout.write("ovl/a/ovl.yaml", MADE)
    checkout.write("ovl/a/root/a", "a" * 100_000)
    checkout.write("ovl/a/other/b", "b" * 100_000)
    yield checkout
    checkout.good("registry", "stop")


def started(checkout: Checkout, *words: str) -> int:
    """Start it at a free port; the port."""
    port = free_port()
    checkout.good("registry", "start", f"--port={port}", *words)
    return port


def status(checkout: Checkout) -> Any:
    return json.loads(checkout.good("registry", "status", "-o", "json").out)


def test_start_status_stop(registry: Checkout) -> None:
    assert status(registry)["running"] is False
    port = started(registry)
    now = status(registry)
    assert now["url"] == f"http://127.0.0.1:{port}" and now["guests"] == f"http://192.168.0.250:{port}"
    assert "runs already" in registry.good("registry", "start").err
    assert status(registry)["pid"] == now["pid"]
    registry.good("registry", "stop")
    assert process_facts.started_at(now["pid"]) is None
    assert status(registry)["running"] is False
    assert "is not running" in registry.good("registry", "stop").err


def test_only_loopback_is_listened_to(registry: Checkout) -> None:
    port = started(registry)
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if " 0A " in line]
    assert [each for each in listening if each.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_one_that_was_killed_is_found_out(registry: Checkout) -> None:
    port = started(registry)
    pid = status(registry)["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: status(registry)["running"] is False)
    registry.good("registry", "start", f"--port={port}")


def test_a_port_that_is_taken(registry: Checkout) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        says = (f"port 127.0.0.1:{port} cannot be used", "--port=")
        registry.bad("registry", "start", f"--port={port}", code=1, says=says)
    assert status(registry)["running"] is False


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["begin"], "unknown action 'begin'"),
        (["rm"], "'registry rm' takes other arguments than: none"),
        (["stop", "now"], "'registry stop' takes other arguments than: now"),
        (["start", "--port=80"], "expected 1024 to 65535, got '80'"),
        (["start", "--htpasswd=/none"], "there is no file /none"),
        (["stop", "--tls"], "--tls cannot be used with 'registry stop'"),
        (["ls", "-o", "yaml"], "unknown format 'yaml'"),
        (["cache", "Upper"], "'Upper' is no image"),
    ],
)
def test_wrong_words(checkout: Checkout, words: list[str], says: str) -> None:
    checkout.bad("registry", *words, code=2, says=(says,))


def test_cache_ls_rm(registry: Checkout) -> None:
    registry.bad("registry", "cache", "localhost/team/a:1", code=1, says=("not running", "xc registry start"))
    port = started(registry)
    registry.good("pull")
    registry.good("registry", "cache", "localhost/team/a:1", "localhost/team/b:1")
    listed = json.loads(registry.good("registry", "ls", "-o", "json").out)
    assert [row["image"] for row in listed] == ["localhost/team/a:1", "localhost/team/b:1"]
    record = files.read_json(registry.workspace / "pull/localhost+team+a:1.json")
    assert listed[0]["digest"] == record["digest"]
    skopeo = ["skopeo", "inspect", "--tls-verify=false", f"docker://127.0.0.1:{port}/localhost/team/a:1"]
    inspection = subprocess.run(skopeo, capture_output=True, text=True, check=True).stdout
    assert json.loads(inspection)["Digest"] == record["digest"]
    before = status(registry)
    registry.bad("registry", "rm", "localhost/team/c:1", code=1, says=("unknown image", "localhost/team/a:1"))
    registry.good("registry", "rm", "localhost/team/a:1")
    after = status(registry)
    assert (after["images"], after["running"], after["url"]) == (1, True, before["url"])
    assert before["size"] - after["size"] > 100_000
    assert subprocess.run(skopeo, capture_output=True).returncode
    registry.good("registry", "stop")
    registry.good("registry", "rm", "localhost/team/b:1")
    assert status(registry)["images"] == 0 and status(registry)["size"] < 10_000


ALPINE = "docker.io/library/alpine:3.20"


def test_an_image_of_the_internet(registry: Checkout, tmp_path: Path) -> None:
    """A mirror stands for docker.io; then the private registry, asked as guests with private-reg ask it."""
    port = started(registry)
    with hub(tmp_path) as internet:
        digest = internet.push("hub/library/alpine:3.20", image(internet.layout, tar(("etc/alpine", "3.20"))))
        mirrors = {"__registry_mirrors": f"docker.io=127.0.0.1:{internet.port}/hub"}
        registry.good("registry", "cache", "alpine:3.20", env=mirrors)
    (row,) = json.loads(registry.good("registry", "ls", "-o", "json").out)
    assert (row["image"], row["digest"]) == (ALPINE, digest)
    registry.good("registry", "cache", ALPINE)  # the mirror is gone by now, but it was pulled before
    script = (ROOT / "ovl/private-reg/default/etc/init.d/19private-reg.rc").read_text()
    for there, here in (("192.168.0.250", "127.0.0.1"), ("/etc/", f"{tmp_path}/etc/")):
        script = script.replace(there, here)
    subprocess.run(["sh", "-ec", script], check=True, env={**os.environ, "REGISTRY_PORT": str(port)})
    places = tmp_path / "etc/containers/registries.conf.d/50-private-reg.conf"
    words = ["skopeo", "--insecure-policy", f"--registries-conf={places}", "copy"]
    copied = subprocess.run(
        [*words, f"docker://{ALPINE}", f"dir:{tmp_path}/copy"], capture_output=True, text=True, check=False
    )
    assert copied.returncode == 0, copied.stderr
    assert f"sha256:{files.sha256(tmp_path / 'copy/manifest.json')}" == digest
    hosts = (tmp_path / "etc/containerd/certs.d/docker.io/hosts.toml").read_text()
    assert f'"http://127.0.0.1:{port}/v2/docker.io"' in hosts


def test_https_and_users(registry: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, login = tmp_path / "htpasswd", tmp_path / "auth.json"
    passwords.write_text(HTPASSWD)
    port = started(registry, "--tls", f"--htpasswd={passwords}")
    registry.good("pull")
    registry.bad("registry", "cache", "localhost/team/a:1", code=1, says=("401", "podman login"))
    login.write_text(json.dumps({"auths": {f"127.0.0.1:{port}": {"auth": "bWU6c2VjcmV0"}}}))
    registry.good("registry", "cache", "localhost/team/a:1", env={"REGISTRY_AUTH_FILE": str(login)})
    now = status(registry)
    assert now["url"].startswith("https:") and now["login"]
    trusting = [
        "curl", "-sf", "--cacert", now["certificate"], "-u", "me:secret",
        "--resolve", f"localhost:{port}:127.0.0.1", f"https://localhost:{port}/v2/_catalog",
    ]  # fmt: skip
    if shutil.which("curl"):
        catalog = subprocess.run(trusting, capture_output=True, text=True, check=True).stdout
        assert json.loads(catalog) == {"repositories": ["localhost/team/a"]}
    assert (registry.workspace / "registry/key.pem").stat().st_mode & 0o077 == 0


def test_a_program_that_does_not_start(checkout: Checkout, fakes: Fakes) -> None:
    fakes.program("docker-registry", "echo it is broken >&2; exit 1")
    says = ("the registry did not start", "it is broken")
    checkout.bad("registry", "start", f"--port={free_port()}", code=1, says=says)
    assert not (checkout.workspace / "registry/registry.json").exists()


def test_clean_leaves_a_registry_that_runs(registry: Checkout) -> None:
    started(registry)
    registry.good("clean")
    assert status(registry)["running"] is True


def images(checkout: Checkout) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(checkout.good("images", "ls", "-o", "json").out)}


def test_an_image_of_a_directory(checkout: Checkout) -> None:
    checkout.write("rootfs/bin/run", "#!/bin/sh\n", 0o755)
    checkout.good("images", "mkimage", "--name=tool", "--tag=2", "--command=/bin/run now", "rootfs")
    first = images(checkout)["localhost/tool:2"]
    assert first["how"] == "made" and first["used"] == []
    checkout.bad("images", "mkimage", "--tag=tool:2", "rootfs", code=1, says=("there is an image", "--force"))
    checkout.good("images", "mkimage", "--force", "--tag=tool:2", "--command=/bin/run now", "rootfs")
    assert images(checkout)["localhost/tool:2"]["digest"] == first["digest"]
    layout = oci.Layout(checkout.workspace / "cache/oci")
    manifest = oci.Manifest.of(layout.json(first["digest"]), "it")
    assert layout.json(manifest.config.digest)["config"] == {"Cmd": ["/bin/run", "now"]}
    checkout.write("ovl/a/ovl.yaml", "images: [localhost/tool:2]\n")
    checkout.good("store")
    assert images(checkout)["localhost/tool:2"]["used"] == ["ovl:a", "cluster:xcluster"]
    checkout.bad("images", "rm", "localhost/tool:2", code=1, says=("used by ovl:a",))
    checkout.write("rootfs/bin/run", "#!/bin/sh\necho 2\n", 0o755)
    checkout.good("images", "mkimage", "--force", "--tag=tool:2", "rootfs")
    assert checkout.good("store").tasks == {"store"}


def test_an_image_of_an_overlay_a_tar_and_a_script(checkout: Checkout) -> None:
    checkout.write("x.tar", "")
    (checkout.root / "x.tar").write_bytes(tar(("etc/x", "x")))
    checkout.write(
        "dir/tar", '#!/bin/sh\nmkdir -p /tmp/$$/bin; tar -C /tmp/$$ -cf "$1" bin; rm -r /tmp/$$\n', 0o755
    )
    for source in ("a", "x.tar", "dir"):
        checkout.good("images", "mkimage", f"--tag=from-{source.partition('.')[0]}:1", source)
    assert set(images(checkout)) == {"localhost/from-a:1", "localhost/from-x:1", "localhost/from-dir:1"}


def test_rm_frees_what_nobody_has(checkout: Checkout) -> None:
    checkout.write("one/big", "1" * 50_000)
    checkout.write("two/big", "2" * 50_000)
    for name in ("one", "two"):
        checkout.good("images", "mkimage", f"--tag={name}:1", name)
    assert "freed" in checkout.good("images", "rm", "localhost/one:1").err
    blobs = list((checkout.workspace / "cache/oci/blobs/sha256").iterdir())
    assert len(blobs) == 3 and set(images(checkout)) == {"localhost/two:1"}
    checkout.bad("images", "rm", "localhost/one:1", code=1, says=("unknown image",))


@pytest.mark.parametrize(
    ("words", "exit_code", "says"),
    [
        (["mkimage", "ovl"], 2, "--tag=NAME:TAG"),
        (["mkimage", "--tag=x:1", "none"], 1, "neither a directory nor a tar"),
        (["mkimage", "--tag=X:1", "ovl"], 2, "is no image"),
        (["mkimage", "--tag=x:1"], 2, "'images mkimage' takes other arguments than: none"),
        (["mkimage", "--tag=x:1", "empty"], 1, "is empty"),
        (["pull"], 2, "unknown action 'pull'"),
        (["update", "never:1"], 1, "was not pulled yet"),
        (["update", "localhost/x:1"], 2, "no tag that could move"),
        (["ls", "--force"], 2, "--force cannot be used with 'images ls'"),
    ],
)
def test_images_wrong_words(checkout: Checkout, words: list[str], exit_code: int, says: str) -> None:
    (checkout.root / "empty").mkdir()
    checkout.bad("images", *words, code=exit_code, says=(says,))


def test_an_image_that_nobody_made(checkout: Checkout) -> None:
    checkout.write("ovl/a/ovl.yaml", "images: [localhost/none:1]\n")
    checkout.bad(
        "store", code=1, says=("localhost/none:1 was not made yet", "xc images mkimage --tag=none:1")
    )
