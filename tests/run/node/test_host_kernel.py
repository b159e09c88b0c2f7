"""Whether the host's kernel has what overlays need, from what it tells and from trials."""

import gzip
import os
from pathlib import Path

import pytest

from tasks.definitions.schema import Overlay
from tasks.run.cluster import kernel_needs
from tasks.run.node.host_kernel import HostKernel, trial

RELEASE = os.uname().release
CONFIG = (
    "CONFIG_XFRM_USER=y\nCONFIG_INET_ESP=m\nCONFIG_NET_VRF=m\n# CONFIG_IP_SCTP is not set\nCONFIG_HZ=250\n"
)


def host(root: Path, *, config: str | None = CONFIG, place: str = "proc/config.gz") -> HostKernel:
    """A host with these options, on which esp4 can be loaded and sctp is loaded."""
    files = {f"lib/modules/{RELEASE}/modules.dep": b"kernel/net/ipv4/esp4.ko.xz: kernel/a.ko\n",
             f"lib/modules/{RELEASE}/modules.builtin": b"kernel/net/mpls/mpls-router.ko\n",
             "proc/modules": b"wireguard 16384 0 - Live 0x0\n"}  # fmt: skip
    if config is not None:
        files[place] = gzip.compress(config.encode()) if place.endswith(".gz") else config.encode()
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return HostKernel.of(root)


@pytest.mark.parametrize("place", ["proc/config.gz", f"boot/config-{RELEASE}"])
def test_what_the_kernel_tells(tmp_path: Path, place: str) -> None:
    kernel = host(tmp_path, place=place)
    answers = {
        name: kernel.has(name) for name in ("XFRM_USER", "INET_ESP", "NET_VRF", "IP_SCTP", "HZ", "own")
    }
    assert answers == {
        "XFRM_USER": True, "INET_ESP": True, "NET_VRF": False, "IP_SCTP": False, "HZ": False, "own": False,
    }  # fmt: skip


def test_a_kernel_that_tells_nothing_is_tried(tmp_path: Path) -> None:
    kernel = host(tmp_path, config=None)
    assert kernel.has("WIREGUARD") and kernel.has("MPLS_ROUTING") and kernel.has("XFRM_USER")
    assert kernel.has("IP_VS") is None


def test_trials_agree_with_what_this_kernel_tells() -> None:
    kernel = HostKernel.of()
    if kernel.options is None:
        pytest.skip("this kernel does not tell its options")
    for option in ("IP_SCTP", "MPTCP", "XFRM_USER", "NET_VRF", "VXLAN", "WIREGUARD"):
        if kernel.options.get(option) != "m":
            assert trial(option) == kernel.has(option), option


def test_one_line_for_each_overlay(tmp_path: Path) -> None:
    kernel = host(tmp_path)
    needs = {
        "good": ("XFRM_USER",),
        "plain": (),
        "vrf": ("CONFIG_NET_VRF", "IP_SCTP", "XFRM_USER"),
        "xdp": ("own",),
    }
    overlays = [Overlay(name=name, directory=tmp_path, kernel=options) for name, options in needs.items()]
    vrf, xdp = kernel_needs.lacking(overlays, kernel)
    assert vrf.startswith("overlay vrf: ") and "lacks CONFIG_NET_VRF, CONFIG_IP_SCTP;" in vrf
    assert "XFRM" not in vrf and vrf.endswith("--node=vm") and xdp.startswith("overlay xdp: it needs rights")
    other = HostKernel(None, frozenset())
    (line,) = kernel_needs.lacking([Overlay(name="lb", directory=tmp_path, kernel=("IP_VS",))], other)
    assert "does not tell whether it has CONFIG_IP_VS" in line


def test_needs_do_not_make_an_overlay_another_one(tmp_path: Path) -> None:
    plain, needy = (Overlay(name="a", directory=tmp_path, kernel=needs) for needs in ((), ("VXLAN",)))
    assert plain.model_dump() == needy.model_dump()
    with pytest.raises(ValueError, match="kernel"):
        Overlay(name="a", directory=tmp_path, kernel=("net vrf",))
