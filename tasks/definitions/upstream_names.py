"""Upstream's variables translated to our settings: here images and kernels have names, not paths."""

import os
import re
import zlib
from collections.abc import Iterator, Mapping

from tasks.definitions import setting_list

TYPED = "XC_TYPED"  # in the environment of a verb of ours: the word of xcluster's that came to it
GIVEN = "given-"  # how names of images begin that are files of the user's
PREFIX = "fd00:"  # what xcluster_PREFIX stands for where it is there and empty
# Settings that have the names of upstream's variables for something else, and what those are.
OTHERS = {"timeout": "how long the test library repeats a step"}

# Settings that upstream has too, or that its scripts use in the same sense.
SAME = (
    "nvm", "nrouters", "ntesters", "mem", "smp", "nets", "nets_vm", "nets_router", "nets_tester", "mtu",
    "image", "machine", "kvm_opt", "append", "net_setup", "xterm", "k8sver",
)  # fmt: skip


def own(name: str) -> str:
    """The variable that is a setting and nothing else: XC_TIMEOUT for timeout."""
    return f"XC_{name.upper()}"


def named_here(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with settings as __name: those of XC_NAME, and none that upstream means otherwise."""
    kept = {key: value for key, value in environ.items() if key[2:] not in OTHERS or key[:2] != "__"}
    return {**kept, **{f"__{name}": value for name, value in _own(environ)}}


def as_upstream(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment as scripts of upstream's kind read it: as __name, also what was given as XC_NAME.

    A variable that may be something else to a script stays as the script's user set it.
    """
    return {**environ, **{f"__{name}": value for name, value in _own(environ) if _is_same(name)}}


def of_hook(environ: Mapping[str, str]) -> dict[str, str]:
    """As `as_upstream`, without the XC_NAME of it: what a hook sets as __name has to count."""
    same = {own(name) for name, _ in _own(environ) if _is_same(name)}
    return {key: value for key, value in as_upstream(environ).items() if key not in same}


def _is_same(name: str) -> bool:
    return name.rstrip("0123456789") in SAME


def _own(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in environ.items():
        name = key[3:].lower()
        if key.startswith("XC_") and value and own(name) == key and setting_list.is_setting(name):
            yield name, value


def otherwise(where: str) -> str:
    """What helps if a variable with a wrong value is another program's: the end of a message."""
    if not where.startswith("__") or _is_same(where[2:]):
        return ""
    return f"; if {where} is for something else, set {own(where[2:])}, which counts more"


def unread(environ: Mapping[str, str], words: Mapping[str, str]) -> list[str]:
    """A note for each variable that is not the setting of its name, unless the words or another set that."""
    return [
        f"note: __{name}={environ[f'__{name}']} is not the setting {name} here, but {meaning}; "
        f"the setting is {own(name)}, or --{name}"
        for name, meaning in OTHERS.items()
        if environ.get(f"__{name}") and not environ.get(own(name)) and name not in words
    ]


def image_name(value: str) -> str:
    """The image that a path or name means: base for ../hd.img, k8s for ../hd-k8s.img, x for ../x.qcow2."""
    if "/" not in value and not value.endswith((".img", ".qcow2")):
        return value
    stem = re.sub(r"\.(img|qcow2)$", "", os.path.basename(value))
    return "base" if stem == "hd" else stem.removeprefix("hd-")


def given_disk(value: str, workspace: str) -> str:
    """The file that a value of `image` names, if it is one that was not built in this workspace; or ""."""
    if "/" not in value or not os.path.isfile(value):
        return ""
    path = os.path.realpath(value)
    built = os.path.realpath(os.path.join(workspace, "image"))
    return "" if os.path.dirname(path) == built else path


def lost_disk(value: str, workspace: str) -> list[str]:
    """A sentence if a value of `image` is the path of a file that is not there. Those that scripts take from
    the workspace are names of what is built in it.
    """
    path = os.path.abspath(value)
    if "/" not in value or os.path.isfile(path) or path.startswith(f"{os.path.abspath(workspace)}/"):
        return []
    return [f"there is no file {path} (image)"]


def unused_kernel(environ: Mapping[str, str], workspace: str) -> list[str]:
    """A sentence if __kbin names a kernel of the user's: no file is taken, but a definition by its name."""
    path = os.path.abspath(environ.get("__kbin") or workspace)
    if path == os.path.abspath(workspace) or path.startswith(f"{os.path.abspath(workspace)}/"):
        return []
    return [f"the kernel {path} (__kbin) is not used: a kernel is a file kernel/NAME.yaml, and --kernel=NAME"]


def given_name(path: str) -> str:
    """The name of an image that is a file outside of the workspace."""
    stem = re.sub(r"[^a-z0-9-]+", "-", os.path.splitext(os.path.basename(path))[0].lower()).strip("-")
    return f"{GIVEN}{stem[:24]}-{zlib.crc32(path.encode(errors='surrogateescape')):08x}"


def image_of(value: str, workspace: str) -> str:
    """The image that a value means, which may be a file that was put somewhere by hand."""
    given = given_disk(value, workspace)
    return given_name(given) if given else image_name(value)


def kernel_name(environ: Mapping[str, str], root: str) -> str:
    """The kernel that the environment names: __kernel, or __kver if we have a kernel of that name; or ""."""
    version = environ.get("__kver", "")
    if environ.get("__kernel") or not re.fullmatch(r"[\w.+-]+", version):
        return environ.get("__kernel", "")
    return version if os.path.isfile(os.path.join(root, "kernel", f"{version}.yaml")) else ""


def family(setup: str) -> str:
    """The address family of Kubernetes that SETUP names: ipv4, ipv6, or ""."""
    families = [part for part in setup.split(",") if part in ("ipv4", "ipv6")]
    return families[-1] if families else ""


def translated(environ: Mapping[str, str], root: str) -> dict[str, str]:
    """The environment with upstream's variables added as our settings."""
    settings = {"__k8s_family": family(environ.get("SETUP", "")), **environ}
    if environ.get("K8S_PROXY_MODE") and not environ.get("__k8s_proxy_mode"):
        settings["__k8s_proxy_mode"] = environ["K8S_PROXY_MODE"]
    if environ.get("__image"):
        workspace = environ.get("XCLUSTER_WORKSPACE") or os.path.join(root, "workspace")
        settings["__image"] = image_of(environ["__image"], workspace)
    if kernel_name(environ, root):
        settings["__kernel"] = kernel_name(environ, root)
    if environ.get("xcluster_PREFIX") and not environ.get("__prefix"):
        settings["__prefix"] = environ["xcluster_PREFIX"]
    return settings
