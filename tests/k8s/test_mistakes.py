"""What is told before a start, and what when Kubernetes does not come up."""

import subprocess

import pytest

from tests.boot.conftest import ROOT
from tests.k8s.conftest import Kubernetes

CLUSTER = Kubernetes("t-k8s-m")


def refused(*words: str) -> "subprocess.CompletedProcess[str]":
    """A start that must not come to a node."""
    done = CLUSTER.xc(*words, ok=False)
    assert "Traceback" not in done.stderr
    assert not CLUSTER.directory.exists()
    return done


def test_an_unknown_version() -> None:
    done = refused("k8s", "--k8sver=v9.99.9")
    assert done.returncode == 2
    assert "v9.99.9" in done.stderr and "v1." in done.stderr, "those that there are, are named"


def test_too_little_memory() -> None:
    done = refused("k8s", "--mem=200")
    assert done.returncode == 2
    assert "200 MiB is too small for Kubernetes" in done.stderr


def test_waiting_for_what_is_not_there() -> None:
    done = refused("starts", "--image=base", "--wait=ready")
    assert done.returncode == 2
    assert "needs a cluster with Kubernetes" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--from=nobody"], "unknown checkpoint 'nobody'"),
        (["--from=nobody", "--nvm=3"], "--from cannot be combined with --nvm"),
    ],
)
def test_a_checkpoint_that_is_not_there_or_is_what_it_is(words: list[str], says: str) -> None:
    assert says in refused("start", *words).stderr


def test_an_image_that_nobody_brings() -> None:
    """A manifest of the user's names a container image that is nowhere: told before a node is started."""
    folder = ROOT / "workspace" / "t-k8s-overlay"
    manifest = folder / "default/etc/kubernetes/mine.yaml"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text("spec: {containers: [{name: a, image: localhost/nowhere:7}]}\n")
    try:
        CLUSTER.xc("mkcdrom", "env", "network-topology", str(folder))
        done = refused("k8s", "--offline")
        assert done.returncode == 1
        assert "localhost/nowhere:7" in done.stderr and "mine.yaml" in done.stderr
    finally:
        CLUSTER.xc("mkcdrom")
        manifest.unlink()


def test_what_is_not_ready_is_named() -> None:
    """kubelet does not start on vm-002: the time-out says so, with its log."""
    folder = ROOT / "workspace" / "t-k8s-overlay"
    script = folder / "default/etc/init.d/32broken.rc"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(
        '#! /bin/sh\n[ "$(hostname)" = vm-002 ] || exit 0\n'
        "/etc/init.d/31kubernetes.rc stop\nrm /var/log/kubelet.log\necho out of order >/var/log/kubelet.log\n"
    )
    script.chmod(0o755)
    try:
        CLUSTER.xc("mkcdrom", "env", "network-topology", str(folder))
        done = CLUSTER.xc("k8s", "--nvm=2", "--nrouters=0", "--timeout=200", ok=False, timeout=900)
        assert done.returncode == 1
        assert "Kubernetes is not ready after 200 s" in done.stderr
        assert "node vm-002: " in done.stderr and "out of order" in done.stderr
        assert "node vm-001: " not in done.stderr
    finally:
        CLUSTER.xc("stop")
        CLUSTER.xc("mkcdrom")
        script.unlink()
