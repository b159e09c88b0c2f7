"""The name of an overlay that xcluster has and this project has not -> what serves here instead."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from tasks.base.errors import unknown

# What follows "unknown overlay 'NAME': ". The table in docs/overlays.md has all names of xcluster.
REPLACEMENTS: Mapping[str, str] = {
    "apparmor": "not made here; the kernel debian has AppArmor, and Debian's package apparmor the programs",
    "attic": "what xcluster has given up is not here",
    "bridge": "its broute of nft needs a newer nft and kernel; use 'iptools', which has nft and ebtables",
    "cert-manager": "not made here; apply its manifests with kubectl, from images in a registry",
    "crio": "cri-o is not in Debian, and is not to be had as a Go module; use 'containerd'",
    "dpdk": "not made here: it needs memory and CPU features that emulated nodes lack",
    "images": "use the verb: xc images, xc pull, xc registry",
    "k8s-app-upgrade": "use 'ctraffic' beside Kubernetes",
    "k8s-base": "images are made with the key 'images' of an overlay",
    "k8s-cni-antrea": "use 'k8s-cni-bridge' or 'k8s-cni-flannel'",
    "k8s-cni-calico": "use 'k8s-cni-bridge' or 'k8s-cni-flannel'",
    "k8s-cni-cilium": "use 'k8s-cni-bridge' or 'k8s-cni-flannel'",
    "k8s-cni-ovs-cni": "use 'k8s-cni-bridge' or 'k8s-cni-flannel'",
    "k8s-cni-xcluster": "use 'k8s-cni-bridge' or 'k8s-cni-flannel'",
    "k8s-pv": "not made here; apply its manifests with kubectl, from images in a registry",
    "k8s-sctp": "use 'sctp', beside Kubernetes",
    "kata": "not made here: it needs nested KVM",
    "kselftest": "not made here: it is compiled from the kernel's source",
    "mserver": "use 'mconnect' and 'ctraffic'",
    "multus": "it is not in Debian, and is not to be had as a Go module; use 'multi-network'",
    "podsec": "use 'ipsec' or 'wireguard'",
    "qemu-sriov": "not made here: it needs QEMU 8 and a NIC of the kind igb",
    "spire": "not made here; apply its manifests with kubectl, from images in a registry",
    "static-kernel": "use the setting kernel: --kernel=linux-6.1 or --kernel=small",
    "systemtap": "use 'linux-tools', whose perf has tracepoints and probes",
    "template-k8s": "use 'template', which xc mkovl copies",
    "usrsctp": "use 'sctp', with the SCTP of the kernel",
    "virtualbox": "not made here: images have no boot loader",
}

# What a directory has in it that is taken for an overlay -> what follows "it has no ovl.yaml ...; ".
CONTENTS: Mapping[str, str] = {
    "*/image.yaml": "it has images: --image=NAME takes one",
    "*/ovl.yaml": "it has overlays: name those that you want, or add it to XCLUSTER_OVLPATH",
    "*/tar": "it has overlays: name those that you want, or add it to XCLUSTER_OVLPATH",
    "fragments/*": "it has kernels: --kernel=NAME takes one",
}
USES: Mapping[str, str] = {
    "kernel": "--kernel={}",
    "image": "--image={}",
    "overlay": "`xc mkcdrom {}`",
    "topology": "--topology={}",
}


def unknown_overlay(name: str, choices: Iterable[str], hollow: Mapping[str, Path]) -> str:
    """One sentence for an overlay that does not exist: what serves instead, or which names are like it.

    `hollow` are directories that stand among the overlays and have nothing that makes an overlay of them.
    """
    if name in hollow:
        return not_overlay(hollow[name])
    if name in REPLACEMENTS:
        return f"unknown overlay '{name}': {REPLACEMENTS[name]}."
    return unknown("overlay", name, choices)


def not_overlay(directory: Path) -> str:
    """One sentence for a directory that was named as an overlay and is none, and what it is if that shows."""
    what = f"{directory} is not an overlay: it has no ovl.yaml, no tar and no default/"
    if (directory / "image.yaml").is_file():
        return f"{what}; it is an image: --image={directory.name} takes it"
    for pattern, instead in CONTENTS.items():
        if any(directory.glob(pattern)):
            return f"{what}; {instead}"
    return what


def elsewhere(kind: str, name: str, kinds: Iterable[str]) -> str:
    """One sentence for a name that is known, but of other kinds than the one that was asked for."""
    uses = " or ".join(f"the {each} of that name, use {USES[each].format(name)}" for each in kinds)
    return f"unknown {kind} '{name}'; for {uses}."
