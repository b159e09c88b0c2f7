"""Kubernetes from elsewhere: a disk image that is downloaded, and programs of a build directory."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.base import files
from tasks.base.paths import Workspace
from tests.boot.conftest import ROOT, WORKSPACE
from tests.k8s.conftest import Kubernetes, started, walk_through
from tests.webserver import serving

PUBLISHED = "https://github.com/Nordix/xcluster-doit/releases/download/v0.1.0"
COPY = "t-k8s-prebuilt"
MINE = ("kubelet", "kube-proxy")


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The definition of images/k8s-prebuilt, but from a server here; with what we built as hd-k8s.img.xz."""
    Kubernetes("t-k8s-down").xc("mkcdrom")
    subprocess.run([str(ROOT / "xc"), "image:k8s"], cwd=ROOT, check=True)
    packed = tmp_path_factory.mktemp("published") / "hd-k8s.img.xz"
    with packed.open("wb") as file:
        subprocess.run(["xz", "-T0", "-1", "-c", WORKSPACE / "image/k8s.qcow2"], stdout=file, check=True)
    definition = ROOT / "images" / COPY
    text = (ROOT / "images/k8s-prebuilt/image.yaml").read_text()
    assert PUBLISHED in text
    try:
        with serving(packed.read_bytes()) as server:
            definition.mkdir()
            (definition / "image.yaml").write_text(
                text.replace(PUBLISHED, server.url) + f"  sha256: {files.sha256(packed)}\n"
            )
            yield COPY
            assert server.sent >= packed.stat().st_size
    finally:
        shutil.rmtree(definition, ignore_errors=True)
        for path in (WORKSPACE / "image").glob(f"{COPY}*"):
            path.unlink()


def test_a_downloaded_image(downloaded: str) -> None:
    """It has all that pods need: nothing of Kubernetes is on the ISO, nor on a disk of container images."""
    name = "t-k8s-down"
    for cluster in started(name, f"--image={downloaded}"):
        assert not Workspace(WORKSPACE).stored(name).exists()
        walk_through(cluster, [1, 2])


def test_programs_of_a_build_directory(tmp_path: Path) -> None:
    """KUBERNETESD: what is in it goes into the image; what is not, comes from the next source as ever."""
    sha256 = files.read_json(Workspace(WORKSPACE).stamp("artifact", "kubelet"))["sha256"]
    for name in MINE:
        shutil.copy(Workspace(WORKSPACE).content(sha256), tmp_path / name)
        with (tmp_path / name).open("ab") as file:
            file.write(f"mine: {name}".encode())  # so that it can be told from ours
    try:
        for cluster in started("t-k8s-own", env={"KUBERNETESD": str(tmp_path)}):
            for name in MINE:
                assert f"mine: {name}" in cluster.rsh(1, f"tail -c 32 /usr/bin/{name}")
            assert "mine" not in cluster.rsh(1, "tail -c 32 /usr/bin/kube-scheduler")
            walk_through(cluster, [1, 2])
    finally:
        shutil.rmtree(tmp_path)
        subprocess.run([str(ROOT / "xc"), "image:k8s"], cwd=ROOT, check=True)
