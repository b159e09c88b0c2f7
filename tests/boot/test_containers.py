"""Container images that nodes have before the start, and a registry that they pull from while they run."""

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import files
from tasks.build.containers import oci
from tests.boot.conftest import ROOT, WORKSPACE, Cluster, assert_nothing_left
from tests.containers import Hub, hub, image, tar, workspace_registry

pytestmark = pytest.mark.boot
RUN = "podman run --rm --network=none"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The private registry of this workspace."""
    with workspace_registry(Cluster("t-oci")) as port:
        yield port


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A registry on the host that has an image of two layers."""
    with hub(tmp_path_factory.mktemp("hub")) as registry:
        yield registry


@pytest.fixture(scope="module")
def cluster(port: int, other: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes with podman, the example image, and one of two layers from a registry."""
    gone = tarfile.TarInfo("etc/.wh.old")
    other.push(
        "deep:1", image(other.layout, tar(("etc/old", "x"), ("etc/kept", "k")), tar(gone, ("top", "t")))
    )
    mine = tmp_path_factory.mktemp("ovl") / "deep"
    mine.mkdir()
    (mine / "ovl.yaml").write_text(f"images: ['127.0.0.1:{other.port}/deep:1']\nallow_empty: true\n")
    (mine / "default").mkdir()
    cluster = Cluster("t-oci", {"xcluster_REGISTRY_PORT": str(port)})
    cluster.xc("mkcdrom", "env", "network-topology", "private-reg", "hello-container", str(mine))
    try:
        cluster.xc("starts", "--nvm=2", "--nrouters=0", "--mem=256")
        yield cluster
    finally:
        cluster.xc("stop")
        forget(cluster)
    assert_nothing_left("t-oci")
    cluster.xc("images", "rm", f"127.0.0.1:{other.port}/deep:1")


def forget(cluster: Cluster) -> None:
    """The cluster has neither an ISO nor container images any more."""
    cluster.xc("mkcdrom")
    env = {**cluster.environment, "__name": cluster.name}
    subprocess.run([ROOT / "xc", "store"], env=env, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def test_nodes_run_it_from_the_disk_they_share(cluster: Cluster) -> None:
    for number in (1, 2):
        assert cluster.rsh(number, f"{RUN} hello:1").strip() == "hello from a container"
        shown = json.loads(cluster.rsh(number, "podman images --format json"))
        (hello,) = [each for each in shown if each["Names"] == ["localhost/hello:1"]]
        assert hello["ReadOnly"] is True
    states = [files.read_json(cluster.directory / f"vm-{number:03d}" / "node.json") for number in (1, 2)]
    assert len({os.stat(state["containers"]).st_ino for state in states}) == 1
    pinned = files.read_json(WORKSPACE / "pull/localhost+hello:1.json")["digest"]
    assert cluster.rsh(1, f"{RUN} localhost/hello@{pinned}").strip() == "hello from a container"


def test_upper_layers_remove_what_is_below(cluster: Cluster, other: Hub) -> None:
    name = f"127.0.0.1:{other.port}/deep:1"
    mount = f"podman mount $(podman create --network=none {name} /none)"
    paths = cluster.rsh(1, f'at=$({mount}) && cd "$at" && find . ! -type d | sort')
    assert [path for path in paths.split() if "/run/" not in path] == ["./etc/kept", "./top"]


def test_what_a_container_writes_is_its_own(cluster: Cluster) -> None:
    write = f"{RUN} hello:1 /bin/busybox sh -c 'echo new > /etc/hello; cat /etc/hello'"
    assert cluster.rsh(1, write).strip() == "new"
    assert cluster.rsh(1, f"{RUN} hello:1").strip() == "hello from a container"


def test_a_guest_pulls_from_the_private_registry(cluster: Cluster, tmp_path: Path) -> None:
    layout = oci.Layout(WORKSPACE / "cache/oci")
    digest = str(files.read_json(WORKSPACE / "pull/localhost+hello:1.json")["digest"])
    (layer,) = oci.Manifest.of(layout.json(digest), "hello").layers
    with tarfile.open(layout.blob(layer.digest)) as archive:
        archive.extractall(tmp_path / "root", filter="data")
    (tmp_path / "root/etc/hello").write_text("from the registry\n")
    words = ["--force", "--tag=t-oci:1", "--command=/bin/busybox cat /etc/hello", str(tmp_path / "root")]
    cluster.xc("images", "mkimage", *words)
    try:
        cluster.xc("registry", "cache", "localhost/t-oci:1")
        output = cluster.rsh(2, f"podman pull -q localhost/t-oci:1 >/dev/null && {RUN} localhost/t-oci:1")
        assert output.strip() == "from the registry"
    finally:
        cluster.xc("registry", "rm", "localhost/t-oci:1")
        cluster.xc("images", "rm", "localhost/t-oci:1")


def test_a_guest_pulls_an_image_of_the_internet(cluster: Cluster, other: Hub) -> None:
    """A mirror stands for docker.io on the host, and the private registry in guests."""
    name = "docker.io/library/alpine:3.20"
    other.push("hub/library/alpine:3.20", image(other.layout, tar(("etc/alpine", "3.20"))))
    host = Cluster(cluster.name, {"__registry_mirrors": f"docker.io=127.0.0.1:{other.port}/hub"})
    try:
        host.xc("registry", "cache", name)
        cluster.rsh(1, f"podman pull -q {name}")
        mount = f"podman mount $(podman create --network=none {name} /none)"
        assert cluster.rsh(1, f'cat "$({mount})/etc/alpine"').strip() == "3.20"
        assert "library/alpine" in cluster.rsh(1, "podman images")
    finally:
        cluster.xc("registry", "rm", name)
        cluster.xc("images", "rm", name)


def test_a_checkpoint_has_the_disk(cluster: Cluster) -> None:
    cluster.xc("checkpoint", "save", "t-oci")
    try:
        cluster.xc("checkpoint", "restore", "t-oci", "--as=t-oci-fork")
        fork = Cluster("t-oci-fork")
        assert fork.rsh(2, f"{RUN} hello:1").strip() == "hello from a container"
        fork.xc("stop")
        assert_nothing_left("t-oci-fork")
    finally:
        cluster.xc("checkpoint", "rm", "t-oci")


def test_a_cold_boot_has_the_disk(cluster: Cluster) -> None:
    cold = Cluster("t-oci-cold")
    cold.xc("mkcdrom", "hello-container")
    try:
        cold.xc("starts", "--cold", "--nvm=1", "--nrouters=0", "--mem=256")
        assert cold.rsh(1, f"{RUN} hello:1").strip() == "hello from a container"
    finally:
        cold.xc("stop")
        forget(cold)
    assert_nothing_left("t-oci-cold")


def test_containerd_imports_them(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "default").mkdir(parents=True)
    (mine / "ovl.yaml").write_text("images: ['localhost/hello:1']\nneeds: [containerd]\nallow_empty: true\n")
    cluster = Cluster("t-oci-ctr")
    cluster.xc("mkcdrom", str(mine))
    try:
        cluster.xc("starts", "--nvm=1", "--nrouters=0", "--mem=384")
        cluster.until(1, "test -e /run/containerd/images-imported", 180)
        assert "localhost/hello:1" in cluster.rsh(1, "ctr -n k8s.io images ls -q").split()
        output = cluster.rsh(1, "ctr -n k8s.io run --rm localhost/hello:1 one")
        assert output.strip() == "hello from a container"
        assert "storage" not in cluster.rsh(1, "ls /var/lib/container-images").split()
    finally:
        cluster.xc("stop")
        forget(cluster)
    assert_nothing_left("t-oci-ctr")
