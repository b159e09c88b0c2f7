"""Words that scripts ask `$XCLUSTER`: env, ovld, cached_tar, geometry, ovlindex. Answered at once.

`tar` scripts ask many times, so this module and what it imports stay small: no doit, no YAML, no pydantic.
tests/cli/upstream holds the defaults here and in lib/settings together.
"""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence

from tasks.base.errors import meant
from tasks.definitions import overlay_path, quantities
from tasks.definitions.upstream_names import (
    GIVEN,
    as_upstream,
    given_disk,
    image_name,
    kernel_name,
    named_here,
)
from tasks.project import plain_file
from tasks.run.running.raster import Raster

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
# What lib/settings has as defaults, as far as `env` prints it.
DEFAULTS = {
    "name": "xcluster", "kernel": "debian", "image": "base", "mem": "128", "smp": "2", "machine": "pc",
    "nets_vm": "0,1", "nets_router": "0,1,2",
}  # fmt: skip
NAMES = (
    "ARCHIVE", "DISKIM", "KERNELDIR", "XCLUSTER", "XCLUSTER_HOME", "XCLUSTER_MONITOR_BASE",
    "XCLUSTER_OVLPATH", "XCLUSTER_TMP", "XCLUSTER_WORKSPACE", "__base_libs", "__bbver", "__cached",
    "__cdrom", "__diskimver", "__dropbearver", "__image", "__ipv4_base", "__ipv6_prefix", "__ipver", "__kbin",
    "__kcfg", "__kobj", "__kver", "__kvm", "__loader", "__machine", "__mem", "__nets_router", "__nets_vm",
    "__smp",
)  # fmt: skip

Environ = Mapping[str, str]


class Refused(Exception):
    """A word that cannot be done. The message has upstream's form, and the exit code is 1."""


def values(environ: Environ, problems: list[str] | None = None) -> dict[str, str]:
    """Everything `env` prints: what is in the environment, else what this project has in its place.

    What is wrong with xcluster.yaml is added to `problems`.
    """
    own = _settings(environ, [] if problems is None else problems)
    environ = as_upstream(environ)
    workspace = os.path.abspath(environ.get("XCLUSTER_WORKSPACE") or os.path.join(ROOT, "workspace"))
    defaults = _defaults(environ, own, workspace)
    kept = ("XCLUSTER", "XCLUSTER_WORKSPACE", "XCLUSTER_HOME", "__image")
    chosen = {key: value if key in kept else environ.get(key) or value for key, value in defaults.items()}
    with contextlib.suppress(ValueError):  # a verb that needs it says what is wrong with it
        chosen["__mem"] = str(quantities.mebibytes(chosen["__mem"]))
    return chosen


def _defaults(environ: Environ, own: Mapping[str, str], workspace: str) -> dict[str, str]:
    home = environ.get("XCLUSTER_HOME") or os.path.join(workspace, "xcluster")
    user = os.path.expanduser("~")
    version = environ.get("__kver") or own["kernel"]
    kernel = os.path.join(workspace, "kernel", own["kernel"])
    image = image_name(environ.get("__image") or own["image"])
    return {
        "XCLUSTER": os.path.join(ROOT, "xc"),
        "XCLUSTER_WORKSPACE": workspace,
        "XCLUSTER_HOME": home,
        "XCLUSTER_TMP": os.path.join(workspace, "tmp", own["name"]),
        "XCLUSTER_MONITOR_BASE": "4000",
        "XCLUSTER_OVLPATH": os.path.join(ROOT, "ovl"),
        "ARCHIVE": os.path.join(user, "Downloads"),
        "KERNELDIR": os.path.join(workspace, "xcluster", "linux"),
        "DISKIM": os.path.join(workspace, "diskim-1.0.0/diskim.sh"),
        "__kver": version,
        "__kobj": os.path.join(workspace, "kbuild", version, "objects"),
        "__kcfg": os.path.join(kernel, "config"),
        "__kbin": os.path.join(kernel, "bzImage"),
        "__image": given_disk(environ.get("__image", ""), workspace)
        or os.path.join(workspace, "image", f"{image}.qcow2"),
        "__cdrom": os.path.join(workspace, "iso", f"{own['name']}.iso"),
        "__cached": os.path.join(workspace, "ovl"),
        "__base_libs": os.path.join(home, "base-libs.txt"),
        "__kvm": "qemu-system-x86_64",
        "__loader": "/lib64/ld-linux-x86-64.so.2",
        "__ipv4_base": "172.30.0.0/24",
        "__ipv6_prefix": "fd00:1723::",
        "__bbver": "busybox-1.36.1",
        "__ipver": "6.9.0",
        "__dropbearver": "2024.85",
        "__diskimver": "1.0.0",
        **{f"__{key}": own[key] for key in ("machine", "mem", "smp", "nets_vm", "nets_router")},
    }


def _settings(environ: Environ, problems: list[str]) -> dict[str, str]:
    """The settings that are printed: environment, xcluster.yaml, defaults."""
    own = dict(DEFAULTS)
    environ = named_here(environ)
    own.update({key: value for key, value in _file(problems).items() if key in own})
    own.update({key: environ[f"__{key}"] for key in own if environ.get(f"__{key}")})
    own["kernel"] = kernel_name(environ, ROOT) or own["kernel"]
    return own


def _file(problems: list[str]) -> dict[str, str]:
    """xcluster.yaml, and what is wrong with it. What is more than plain lines needs a reader of YAML."""
    path = os.path.join(ROOT, "xcluster.yaml")
    values = plain_file.read(path)
    if values is not None:
        return values
    from pathlib import Path

    from tasks.project import definition_files

    file = definition_files.read_yaml(Path(path), "xcluster.yaml", problems)
    return {
        key: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in file.items()
        if isinstance(value, str | list)
    }


def home(environ: Environ) -> None:
    """Make the directories that scripts count on, with upstream's names for our files in them."""
    settings = values(environ)
    if environ.get("XCLUSTER_HOME"):
        return
    place, workspace = settings["XCLUSTER_HOME"], settings["XCLUSTER_WORKSPACE"]
    for folder in (place, settings["XCLUSTER_TMP"]):
        os.makedirs(folder, exist_ok=True)
    for name in _below(os.path.join(workspace, "image"), ".qcow2"):
        if name.startswith(GIVEN):
            continue
        _link(f"../image/{name}.qcow2", os.path.join(place, "hd.img" if name == "base" else f"hd-{name}.img"))
    for name in _below(os.path.join(workspace, "kernel"), ".json"):
        _link(f"../kernel/{name}/bzImage", os.path.join(place, f"bzImage-{name}"))
    trees = os.path.join(workspace, "kbuild")
    for name in os.listdir(trees) if os.path.isdir(trees) else []:
        os.makedirs(os.path.join(place, "linux"), exist_ok=True)
        _link(f"../../kbuild/{name}/source", os.path.join(place, "linux", name))
    image = image_name(settings["__image"])
    if os.path.isfile(os.path.join(workspace, "image", f"{image}.libs")):
        _link(f"../image/{image}.libs", os.path.join(place, "base-libs.txt"))


def _below(folder: str, ending: str) -> list[str]:
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [name.removesuffix(ending) for name in names if name.endswith(ending) and name[0] != "."]


def _link(target: str, path: str) -> None:
    """Make a link, unless there is one already; a file was put there by the user, and stays."""
    if os.path.lexists(path) and (not os.path.islink(path) or os.readlink(path) == target):
        return
    fresh = f"{path}.{os.getpid()}.tmp"
    os.symlink(target, fresh)
    os.replace(fresh, path)


def env(environ: Environ, args: Sequence[str]) -> None:
    """Print the settings, to be evaluated by a shell."""
    problems: list[str] = []
    settings = values(environ, problems)
    if problems:
        raise Refused("; ".join(problems))
    quoted = {key: settings[key].replace("'", "'\\''") for key in NAMES}
    sys.stdout.write("".join(f"{key}='{value}'\n" for key, value in quoted.items()))


def ovld(environ: Environ, args: Sequence[str]) -> None:
    """Print the directory of an overlay."""
    sys.stdout.write(overlay(environ, args[0] if args else "") + "\n")


def overlay(environ: Environ, name: str) -> str:
    """The directory of an overlay. Refused where there is none of that name."""
    folders = overlay_path.folders(values(environ)[overlay_path.VARIABLE])
    for folder in folders:
        if name and os.path.isdir(os.path.join(folder, name)):
            return os.path.join(folder, name)
    names = [each for folder in folders if os.access(f"{folder}/.", os.R_OK) for each in os.listdir(folder)]
    raise Refused("; ".join([f"Ovl not found [{name}]{meant(name, names)}", *overlay_path.faults(environ)]))


def cached_tar(environ: Environ, args: Sequence[str]) -> None:
    """Print the packed tar of an overlay, of a variant in SETUP before the default one."""
    if not args:
        raise Refused("No ovl")
    folder = values(environ)["__cached"]
    setup = [part for part in environ.get("SETUP", "").split(",") if part]
    suffixes = ["".join(f"@{part}" for part in setup), *(f"@{part}" for part in setup), ""]
    for suffix in suffixes:
        path = os.path.join(folder, f"{args[0]}{suffix}.tar")
        if os.path.isfile(path):
            sys.stdout.write(path + "\n")
            return
    raise Refused(f"Not cached [{args[0]}]{meant(args[0], _below(folder, '.tar'))}")


def geometry(environ: Environ, args: Sequence[str]) -> None:
    """Print xterm's option for the place of a window in the raster."""
    try:
        column, row = (int(word) for word in args)
    except ValueError:
        column = row = 0
    if min(column, row) < 1:
        raise Refused("geometry takes two numbers: column and row, counted from 1")
    try:
        place = Raster.of(environ).geometry((column, row))
    except ValueError as error:
        raise Refused(str(error)) from None
    sys.stdout.write(f"-geometry {place}\n")


def ovlindex(environ: Environ, args: Sequence[str]) -> None:
    """Print an index of the overlays below --src in Markdown: the first paragraph of each README.md."""
    src = environ.get("__src") or "."
    if not os.path.isdir(src):
        raise Refused(f"Not a directory [{src}]")
    for name in sorted(os.listdir(src)):
        with (
            contextlib.suppress(OSError),
            open(os.path.join(src, name, "README.md"), encoding="utf-8") as file,
        ):
            text = " ".join(_paragraph(file.read()).split())
            sys.stdout.write(f"* [{name}]({name}/README.md) - {text}\n")


def _paragraph(text: str) -> str:
    """The first one that is neither a heading nor code."""
    blocks = (block.strip("\n") for block in re.split(r"\n\s*\n", text))
    plain = ("\n".join(line for line in block.splitlines() if not line.startswith("#")) for block in blocks)
    return next((block for block in plain if block.strip() and not block.startswith(("    ", "```"))), "")


Does = Callable[[Environ, Sequence[str]], None]
WORDS: Mapping[str, Does] = {
    "env": env,
    "ovld": ovld,
    "cached_tar": cached_tar,
    "geometry": geometry,
    "ovlindex": ovlindex,
}
