"""Upstream's words for disk images and kernels, in terms of our tasks: mkimage, ximage, kernel_build."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from tasks.base.errors import meant
from tasks.cli.upstream import builds, contract
from tasks.cli.upstream.contract import ROOT, Does, Environ, Refused, values
from tasks.definitions.upstream_names import image_name

MADE = "# Made by `xc ximage`; see docs/adding.md.\n"


def mkimage(environ: Environ, args: Sequence[str]) -> None:
    """Build the disk image that --image names; a path outside of the workspace gets a copy of it."""
    if environ.get("__bootable"):
        raise Refused("--bootable: an image has no boot loader here, QEMU is given the kernel")
    if environ.get("__version"):
        environ = {**environ, "XCLUSTER_VERSION": environ["__version"]}
    option = environ.get("__image", "")
    name = image_name(values(environ)["__image"])
    folder = os.path.join(ROOT, "images")
    images = [each for each in os.listdir(folder) if os.path.isfile(os.path.join(folder, each, "image.yaml"))]
    if name not in images and name == option:  # no path, whose last part may be anything
        raise Refused(f"no image [{name}]{meant(name, images)}; there are: {', '.join(sorted(images))}")
    if name not in images:
        name = "base"
    builds.build([f"image:{name}"], {**environ, "__image": name})
    contract.home(environ)
    disk = os.path.join(values(environ)["XCLUSTER_WORKSPACE"], "image", f"{name}.qcow2")
    if "/" in option and image_name(option) != name:
        _convert(disk, option, environ)


def _convert(source: str, out: str, environ: Environ) -> None:
    from pathlib import Path

    from tasks.base import errors, proc, user_files

    kind = environ.get("__format") or "qcow2"
    try:
        with user_files.written(Path(out)) as temp:
            proc.output(["qemu-img", "convert", "-O", kind, source, str(temp)])
    except errors.UserError as error:
        raise Refused(str(error)) from None


def ximage(environ: Environ, args: Sequence[str]) -> None:
    """Extend an image with overlays: write or complete its definition, and build it."""
    if environ.get("__script"):
        raise Refused("--script: no virtual machine is used to make images here; put it into an overlay")
    if not args:
        raise Refused("No ovls")
    name = image_name(environ.get("__image") or "base")
    if "/" in name or not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
        raise Refused(f"Not a name for an image [{name}]")
    overlays = [_overlay_name(environ, word) for word in args]
    path = os.path.join(ROOT, "images", name, "image.yaml")
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            if file.readline() != MADE:
                raise Refused(f"{path} is not ours to change: extend it with --image=NEW, or edit it")
            old = re.search(r"^overlays: \[(.*)\]$", file.read(), re.MULTILINE)
            overlays = [*(old.group(1).split(", ") if old else ()), *overlays]
    listed = ", ".join(dict.fromkeys(overlays))
    with _defined(path, f"{MADE}summary: base with {listed}\nextends: base\noverlays: [{listed}]\n"):
        builds.build([f"image:{name}"], {**environ, "__image": name})


@contextlib.contextmanager
def _defined(path: str, text: str) -> Iterator[None]:
    """A definition that stays when what is done with it succeeds; else there is what was there before."""
    folder = os.path.dirname(path)
    fresh, before = not os.path.isdir(folder), None
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            before = file.read()
    os.makedirs(folder, exist_ok=True)
    _replace(path, text)
    try:
        yield
    except BaseException:
        if before is not None:
            _replace(path, before)
        else:
            os.unlink(path)
        if fresh:
            os.rmdir(folder)
        raise


def _replace(path: str, text: str) -> None:
    with open(f"{path}.tmp", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.tmp", path)


def _overlay_name(environ: Environ, word: str) -> str:
    if "/" in word:
        raise Refused(f"Ovl not found [{word}]: an image is made of overlays by name")
    contract.overlay(environ, word)
    return word


def kernel_build(environ: Environ, args: Sequence[str]) -> None:
    """Build the kernel that --kver names, or look at its configuration with --menuconfig."""
    for name, instead in (("__kpatch", "patches"), ("__kcfg", "fragments")):
        if environ.get(name) and name not in os.environ:
            raise Refused(f"--{name[2:]}: use `{instead}` in kernel/NAME.yaml; see docs/kernels.md")
    name = values(environ)["__kver"]
    if not os.path.isfile(os.path.join(ROOT, "kernel", f"{name}.yaml")):
        kernels = sorted(each[:-5] for each in os.listdir(f"{ROOT}/kernel") if each.endswith(".yaml"))
        near = meant(name, kernels)
        listed = ", ".join(kernels)
        raise Refused(f"no kernel [{name}], there are: {listed}; kernel/NAME.yaml makes another one{near}")
    trees = [f"headers:{name}"] if _is_compiled(name) else []  # upstream's users compile modules in them
    builds.become(
        ["menuconfig", name] if environ.get("__menuconfig") else [f"kernel:{name}", *trees], environ
    )


def _is_compiled(name: str) -> bool:
    with open(os.path.join(ROOT, "kernel", f"{name}.yaml"), encoding="utf-8") as file:
        return any(line.startswith("source:") for line in file)


WORDS: Mapping[str, Does] = {"mkimage": mkimage, "ximage": ximage, "kernel_build": kernel_build}
