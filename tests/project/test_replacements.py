"""Overlays of xcluster that are not here: what is said of them, and the table of all of them."""

import re

import pytest

from tasks.project.replacements import REPLACEMENTS, unknown_overlay
from tests.conftest import ROOT

XCLUSTER = """
apparmor attic bash bridge cert-manager cni-plugins containerd crio ctraffic dhcp dpdk env etcd frr
gobgp images iperf ipsec iptools k8s-app-upgrade k8s-base k8s-cni-antrea k8s-cni-bridge
k8s-cni-calico k8s-cni-cilium k8s-cni-flannel k8s-cni-ovs-cni k8s-cni-xcluster k8s-pv k8s-sctp kata
kselftest kubeadm kubernetes linux-tools lldp load-balancer lspci mconnect mpls mptcp mserver mtu
multus netns network-topology ovs podman podsec private-reg qemu-sriov sctp skopeo spire srv6
static-kernel systemtap tap-scrambler template template-k8s test timezone udp-test usrsctp
virtualbox vrf wireguard xdp xnet
""".split()  # all 69 of its directories
HERE = {path.name for path in (ROOT / "ovl").iterdir()}


def rows() -> dict[str, str]:
    """The table in docs/overlays.md: what it says of each name."""
    section = (
        (ROOT / "docs/overlays.md").read_text().partition("## xcluster's overlays\n")[2].partition("\n## ")[0]
    )
    found = re.findall(r"^\| ([a-z0-9, -]+) \| (.+) \|$", section, re.M)
    return {name: says for names, says in found for name in names.split(", ") if name != "xcluster"}


def test_the_table_has_every_name_once() -> None:
    assert sorted(rows()) == sorted(XCLUSTER)


@pytest.mark.parametrize("name", XCLUSTER)
def test_a_row_tells_the_truth(name: str) -> None:
    says = rows()[name]
    assert says.startswith("not here") or f"[{name}](../ovl/{name}/README.md)" in says
    assert not says.startswith("not here") or name not in HERE


def test_what_serves_instead_is_there_and_what_is_there_needs_none() -> None:
    assert HERE.isdisjoint(REPLACEMENTS) and set(REPLACEMENTS) <= set(XCLUSTER)
    named = {word for says in REPLACEMENTS.values() for word in re.findall(r"'([\w-]+)'", says)}
    assert named <= HERE | {"images"}


def test_what_is_said() -> None:
    assert unknown_overlay("crio", HERE, {}).endswith("use 'containerd'.")
    assert "Did you mean 'etcd'" in unknown_overlay("etc", HERE, {})
