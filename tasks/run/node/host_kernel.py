"""The kernel of this host, on which containers run ──> whether it has what an overlay needs of a kernel"""

import gzip
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.base import proc
from tasks.base.errors import UserError
from tasks.run.net import host_support

OWN = "own"  # what an overlay says that needs rights over the whole kernel
# Modules that are not called as their option; the others are.
MODULES = {
    "INET_ESP": "esp4", "IP_SCTP": "sctp", "MPLS_ROUTING": "mpls_router", "NET_SCH_NETEM": "sch_netem",
    "NET_VRF": "vrf",
}  # fmt: skip
# How to find out where the kernel does not tell its options: a socket of this kind can be had,
SOCKETS: Mapping[str, tuple[int, int, int]] = {
    "IP_SCTP": (socket.AF_INET, socket.SOCK_STREAM, 132),
    "MPTCP": (socket.AF_INET, socket.SOCK_STREAM, 262),
    "XFRM_USER": (socket.AF_NETLINK, socket.SOCK_RAW, 6),
}
# or a link of this kind.
LINKS: Mapping[str, tuple[str, ...]] = {
    "NET_VRF": ("vrf", "table", "1"),
    "VXLAN": ("vxlan", "id", "1", "dstport", "0"),
    "WIREGUARD": ("wireguard",),
}


@dataclass(frozen=True)
class HostKernel:
    """What is known of the kernel: its options (y or m) if it tells them, and the modules that there are."""

    options: Mapping[str, str] | None
    modules: frozenset[str]

    @classmethod
    def of(cls, root: Path = Path("/")) -> "HostKernel":
        """The one that runs, as the files below `root` tell."""
        return cls(_options(root), frozenset(_modules(root)))

    def has(self, option: str) -> bool | None:
        """Whether it has an option, built in or as a module that is there; None if nobody can tell."""
        if option == OWN:
            return False
        module = MODULES.get(option, option.lower())
        if self.options is not None:
            value = self.options.get(option)
            return value == "y" or (value == "m" and module in self.modules)
        return True if module in self.modules else trial(option)


def trial(option: str) -> bool | None:
    """Whether what the option gives can be had in a new network namespace; None if that cannot be tried."""
    if option in SOCKETS:
        try:
            socket.socket(*SOCKETS[option]).close()
        except OSError:
            return False
        return True
    if option in LINKS and proc.find("ip"):
        try:
            proc.output([*host_support.fence(), "ip", "link", "add", "xct", "type", *LINKS[option]])
        except UserError:
            return False
        return True
    return None


def _options(root: Path) -> dict[str, str] | None:
    release = os.uname().release
    for name in ("proc/config.gz", f"boot/config-{release}", f"lib/modules/{release}/config"):
        try:
            data = (root / name).read_bytes()
            text = (gzip.decompress(data) if name.endswith(".gz") else data).decode(errors="replace")
        except (OSError, EOFError):
            continue
        pairs = (line.removeprefix("CONFIG_").split("=", 1) for line in text.splitlines() if "=" in line)
        return {name: value for name, value in pairs if value in ("y", "m")}
    return None


def _modules(root: Path) -> Iterator[str]:
    """The modules that are loaded, built in or can be loaded, with underscores."""
    loaded = root / "proc/modules"
    if loaded.is_file():
        yield from (line.split()[0] for line in loaded.read_text().splitlines() if line.strip())
    folder = root / "lib/modules" / os.uname().release
    for name in ("modules.dep", "modules.builtin"):
        if (folder / name).is_file():
            for line in (folder / name).read_text().splitlines():
                yield Path(line.partition(":")[0]).name.partition(".ko")[0].replace("-", "_")
