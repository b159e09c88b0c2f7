"""The name of a program ──> its path, or the Debian package that has it."""

import os
import shutil

from tasks.base import environment
from tasks.base.errors import UserError

# The Debian package of each program that we call; messages of `doctor` and `need` name it.
DEBIAN_PACKAGE = {
    "apt-config": "apt", "apt-get": "apt", "bc": "bc", "bison": "bison", "bzip2": "bzip2",
    "debugfs": "e2fsprogs", "depmod": "kmod", "dnsmasq": "dnsmasq-base", "dot": "graphviz",
    "dpkg-deb": "dpkg", "flex": "flex", "gcc": "gcc", "git": "git", "go": "golang-go", "gzip": "gzip",
    "ip": "iproute2", "lz4": "lz4", "lzip": "lzip", "make": "make", "mke2fs": "e2fsprogs",
    "nft": "nftables", "nsenter": "util-linux", "openssl": "openssl", "pasta": "passt",
    "qemu-img": "qemu-utils", "qemu-system-x86_64": "qemu-system-x86", "scp": "openssh-client",
    "setpriv": "util-linux", "slirp4netns": "slirp4netns", "socat": "socat", "sqfstar": "squashfs-tools",
    "ssh": "openssh-client", "ssh-keygen": "openssh-client", "tar": "tar", "unshare": "util-linux",
    "xterm": "xterm", "xz": "xz-utils", "zstd": "zstd",
}  # fmt: skip

INSTALL = "apt-get install --no-install-recommends"


def find(program: str) -> str | None:
    """The path of `program`, or None. /usr/sbin and /sbin are searched even if they are not in PATH."""
    return shutil.which(program, path=f"{environment.path()}:{environment.SYSTEM}")


def of_go(program: str) -> str | None:
    """The path of a program that the user has installed with Go: in GOBIN, or in bin/ of GOPATH; or None."""
    paths = (os.environ.get("GOPATH") or os.path.expanduser("~/go")).split(os.pathsep)
    places = [os.environ.get("GOBIN", ""), *(os.path.join(path, "bin") for path in paths if path)]
    return shutil.which(program, path=os.pathsep.join(place for place in places if os.path.isabs(place)))


def need(program: str) -> str:
    """The path of `program`. Raises a UserError that names the Debian package with it if it is missing."""
    path = find(program)
    if path is None:
        package = DEBIAN_PACKAGE.get(program, program)
        raise UserError(f"the program '{program}' is missing", f"{INSTALL} {package}")
    return path
