"""What nodes of Kubernetes are told, without a node: the shell library, and the manifests."""

import subprocess
from pathlib import Path

import pytest

from tasks.project import definition_files
from tests.conftest import ROOT

OVERLAY = ROOT / "ovl" / "kubernetes"
LIBRARY = OVERLAY / "default" / "usr" / "lib" / "kubernetes.sh"
NAMES = ("k8s_node", "k8s_api", "k8s_services", "k8s_pods", "k8s_dns", "k8s_mode", "k8s_cni")


def variables(tmp_path: Path, message: str, cni: str = "") -> dict[str, str]:
    """What the library sets on vm-002, whose launcher has sent `message`."""
    (tmp_path / "node").write_text(message)
    (tmp_path / "cni").write_text(cni)
    text = LIBRARY.read_text().replace("/etc/xcluster_node", str(tmp_path / "node"))
    text = text.replace("/etc/kubernetes/cni", str(tmp_path / "cni"))
    script = f"i=2 PREFIX=fd00:\n{text}\n" + "".join(f'echo "{name}=${name}"\n' for name in NAMES)
    lines = subprocess.run(["sh", "-eu", "-c", script], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in lines.splitlines())


def test_both_families(tmp_path: Path) -> None:
    assert variables(tmp_path, "") == {
        "k8s_node": "192.168.1.2,fd00::192.168.1.2",
        "k8s_api": "192.168.1.1",
        "k8s_services": "12.0.0.0/16,fd00:4000::/112",
        "k8s_pods": "11.0.0.0/16,fd00:1100::/96",
        "k8s_dns": "12.0.0.2,fd00:4000::2",
        "k8s_mode": "iptables",
        "k8s_cni": "bridge",
    }


@pytest.mark.parametrize(
    ("family", "node", "api", "services"),
    [
        ("ipv4", "192.168.1.2", "192.168.1.1", "12.0.0.0/16"),
        ("ipv6", "fd00::192.168.1.2", "[fd00::192.168.1.1]", "fd00:4000::/112"),
    ],
)
def test_one_family(tmp_path: Path, family: str, node: str, api: str, services: str) -> None:
    values = variables(tmp_path, f"xc_k8s_family='{family}'\nxc_k8s_proxy_mode='nftables'\n", "calico\n")
    assert (values["k8s_node"], values["k8s_api"], values["k8s_services"]) == (node, api, services)
    assert (values["k8s_mode"], values["k8s_cni"]) == ("nftables", "calico")


def test_manifests_name_images_that_nodes_have() -> None:
    here = {image.ref for image in definition_files.load(ROOT).overlays["kubernetes"].images}
    named = {
        line.split()[1]
        for file in (OVERLAY / "default" / "etc" / "kubernetes").rglob("*.yaml")
        for line in file.read_text().splitlines()
        if line.strip().startswith("image:")
    }
    assert named == {"localhost/coredns:1", "localhost/alpine:1", "localhost/mconnect:1"}
    assert here == named | {"localhost/pause:1"}, "and the first process of pods"
