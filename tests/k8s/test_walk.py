"""The walk-through on one cluster, then what befalls it: new nodes, reboots, programs that are killed."""

import json
import os
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.boot.conftest import ROOT
from tests.k8s.conftest import LONG, PATIENCE, Kubernetes, eventually, started, walk_through


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kubernetes]:
    yield from started("t-k8s", overlays=("env", "network-topology", "test"))


def test_images_are_there(cluster: Kubernetes) -> None:
    for number in (1, 2):
        images = cluster.rsh(number, "images").split()
        assert {f"localhost/{name}:1" for name in ("pause", "coredns", "alpine", "mconnect")} <= set(images)


def test_walk_through(cluster: Kubernetes) -> None:
    walk_through(cluster, [1, 2])


def test_crictl(cluster: Kubernetes) -> None:
    """containerd, asked on a node in the words of its own interface."""
    running = json.loads(cluster.rsh(2, "crictl ps -o json"))["containers"]
    ours = next(each for each in running if each["metadata"]["name"] == "mconnect")
    pod = cluster.rsh(2, f"crictl exec {ours['id']} hostname").strip()
    assert pod in {each["metadata"]["name"] for each in cluster.pods("mconnect")}
    listed = [line.split()[:2] for line in cluster.rsh(2, "crictl images").splitlines()]
    assert ["localhost/mconnect", "1"] in listed


def test_both_families(cluster: Kubernetes) -> None:
    assert len(cluster.json("get service mconnect")["spec"]["clusterIPs"]) == 2
    for pod in cluster.pods("mconnect"):
        assert len(pod["status"]["podIPs"]) == 2


def test_the_private_keys_are_private(cluster: Kubernetes) -> None:
    modes = cluster.rsh(
        2, "stat -c '%a %n' /etc/kubernetes/pki/*.key /etc/kubernetes/*.conf /etc/kubernetes/nodes/*.key"
    )
    assert {line.split()[0] for line in modes.splitlines()} == {"600"}


def test_the_api_from_the_host(cluster: Kubernetes, tmp_path: Path) -> None:
    """As kubectl would ask it: by the context in a kubeconfig, over 127.0.0.1."""
    config = tmp_path / "config"
    config.write_text("apiVersion: v1\nkind: Config\ncurrent-context: mine\n")
    cluster.xc("kubeconfig", f"--file={config}")
    content = yaml.safe_load(config.read_text())
    assert content["current-context"] == "t-k8s"
    names = api_answer(content, "/api/v1/nodes")
    assert [each["metadata"]["name"] for each in names["items"]] == ["vm-001", "vm-002"]
    assert api_answer(yaml.safe_load(cluster.xc("kubeconfig", "--print").stdout), "/version")["gitVersion"]


def api_answer(
    content: dict[str, list[dict[str, dict[str, str]]]], path: str
) -> dict[str, list[dict[str, dict[str, str]]]]:
    """What the API of a kubeconfig answers."""
    import base64
    import tempfile

    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=ca)
    with tempfile.NamedTemporaryFile() as both:
        both.write(
            base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
        )
        both.flush()
        context.load_cert_chain(both.name)
    assert cluster["server"].startswith("https://127.0.0.1:")
    with urllib.request.urlopen(cluster["server"] + path, context=context, timeout=60) as answer:
        hosts: dict[str, list[dict[str, dict[str, str]]]] = json.load(answer)
    return hosts


def test_as_upstream_tests_an_overlay(cluster: Kubernetes) -> None:
    """The overlay's own script, with the functions for Kubernetes of the test library."""
    words = [str(ROOT / "xc"), "k8s_test", f"--name={cluster.name}", "--nvm=2", "--nrouters=2"]
    done = subprocess.run(
        [*words, "--no-start", "--no-stop", "kubernetes"],
        cwd=ROOT, env=cluster.environment, capture_output=True, text=True, check=False, timeout=LONG,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Deployment mconnect" in done.stdout + done.stderr
    assert "=== kubernetes: passed" in done.stdout + done.stderr


def test_a_node_more(cluster: Kubernetes) -> None:
    cluster.xc("scaleout", "3", timeout=1200)
    eventually(lambda: cluster.ready().get("vm-003", False))
    cluster.kubectl("delete -f /etc/kubernetes/mconnect.yaml -f /etc/kubernetes/alpine.yaml")
    walk_through(cluster, [1, 2, 3])


def test_a_reboot_of_a_node(cluster: Kubernetes) -> None:
    booted = cluster.rsh(2, "cat /proc/sys/kernel/random/boot_id")
    cluster.xc("reset_vm", "2")
    eventually(
        lambda: (
            cluster.xc("rsh", "2", "cat /proc/sys/kernel/random/boot_id", ok=False).stdout not in ("", booted)
        )
    )
    walk_through(cluster, [1, 2, 3])


def test_etcd_is_killed(cluster: Kubernetes) -> None:
    cluster.kubectl("create configmap before --from-literal=a=b")
    cluster.rsh(1, "kill -9 $(pidof etcd)")
    eventually(lambda: "before" in cluster.kubectl("get configmap before -o name", ok=False))
    walk_through(cluster, [1, 2, 3])


def test_a_node_is_killed(cluster: Kubernetes) -> None:
    """Its QEMU is gone at once; scaleout brings a new one of the same name."""
    (pid,) = [node["pid"] for node in cluster.status()["nodes"] if node["name"] == "vm-002"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not cluster.ready()["vm-002"])
    cluster.xc("scalein", "2")
    cluster.xc("scaleout", "2", timeout=1200)
    eventually(lambda: cluster.ready()["vm-002"], PATIENCE)
    cluster.kubectl("delete -f /etc/kubernetes/mconnect.yaml -f /etc/kubernetes/alpine.yaml")
    walk_through(cluster, [1, 2, 3])
