"""Upstream's words for builds, in terms of our tasks: mkimage, ximage, kernel_build, build_base, cache ..."""

import os
import re
import sys
from collections.abc import Mapping, Sequence

from tasks.base import interpreter
from tasks.base.errors import meant, nearest
from tasks.cli import table
from tasks.cli.upstream import contract
from tasks.cli.upstream.contract import ROOT, Does, Environ, Refused, values
from tasks.definitions.upstream_names import image_name

# What upstream gives to such a cluster; memory in MiB.
TESTED = {"__image": "k8s", "__wait": "ready", "__nvm": "4", "__mem": "1536", "__mem1": "2048"}
MADE = "# Made by `xc ximage`; see docs/adding.md.\n"


def completion(environ: Environ, args: Sequence[str]) -> None:
    """Print the words that begin with the prefix, or what a shell needs to complete ours."""
    from tasks.cli import completion_scripts, hook

    prefix = args[0] if args else ""
    if prefix in completion_scripts.SCRIPTS:
        sys.stdout.write(completion_scripts.SCRIPTS[prefix])
        return
    every = {*(row.name for row in table.own()), *hook.verbs()}
    names = sorted(name for name in every if name.startswith(prefix))
    sys.stdout.write("".join(f"{name}\n" for name in names))


def cache(environ: Environ, args: Sequence[str]) -> None:
    """Pack overlays; or list (--list) or remove (--clear) those that are packed."""
    folder = values(environ)["__cached"]
    packed = sorted(name for name in _files(folder) if name.endswith(".tar"))
    chosen = [name for name in packed if not args or re.split(r"[@.]", name)[0] in args]
    if environ.get("__list"):
        sys.stdout.write("".join(f"{os.path.join(folder, name)}\n" for name in chosen))
    elif environ.get("__clear"):
        for name in chosen:
            os.unlink(os.path.join(folder, name))
    else:
        setup = environ.get("SETUP", "")
        if "," in setup:
            raise Refused(f"SETUP with more than one item [{setup}]")
        if not args:
            raise Refused("No ovls")
        try:
            names = [_key(environ, name, setup) for name in args]
        except Refused as error:
            near = nearest(args[0], table.VERBS["cache"].actions)
            raise Refused(f"{error}; did you mean `xc cache {near[0]}`?" if near else str(error)) from None
        _become([f"ovl:{name}" for name in names], environ)


def _key(environ: Environ, name: str, setup: str) -> str:
    """The task that packs an overlay: a variant is one of its own, where the overlay has it."""
    own = contract.overlay(environ, name)
    has = setup and (os.path.isfile(f"{own}/tar") or os.path.isdir(f"{own}/{setup}"))
    return f"{name}@{setup}" if has else name


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
    _build([f"image:{name}"], {**environ, "__image": name})
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
    os.makedirs(os.path.dirname(path), exist_ok=True)
    listed = ", ".join(dict.fromkeys(overlays))
    with open(f"{path}.tmp", "w", encoding="utf-8") as file:
        file.write(f"{MADE}summary: base with {listed}\nextends: base\noverlays: [{listed}]\n")
    os.replace(f"{path}.tmp", path)
    _become([f"image:{name}"], {**environ, "__image": name})


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
        kernels = sorted(each[:-5] for each in _files(f"{ROOT}/kernel") if each.endswith(".yaml"))
        near = meant(name, kernels)
        listed = ", ".join(kernels)
        raise Refused(f"no kernel [{name}], there are: {listed}; kernel/NAME.yaml makes another one{near}")
    _become(["menuconfig", name] if environ.get("__menuconfig") else [f"kernel:{name}"], environ)


def build_base(environ: Environ, args: Sequence[str]) -> None:
    """Build kernel, image and the base overlays in a new workspace."""
    if args:
        if os.path.exists(args[0]):
            raise Refused(f"Already exists [{args[0]}]")
        environ = {**environ, "XCLUSTER_WORKSPACE": os.path.abspath(args[0])}
    if environ.get("__version"):
        environ = {**environ, "XCLUSTER_VERSION": environ["__version"]}
    settings = values(environ)
    _become([f"kernel:{settings['__kver']}", f"image:{image_name(settings['__image'])}", "ovl"], environ)


def k8s_build_images(environ: Environ, args: Sequence[str]) -> None:
    """Build the image for Kubernetes."""
    _become(["image:k8s"], environ)


def k8s_test(environ: Environ, args: Sequence[str]) -> None:
    """Run the test script of an overlay, OVL/OVL.sh, for clusters of the image k8s."""
    if not args:
        raise Refused("No ovl")
    name = args[0]
    script = os.path.join(contract.overlay(environ, name), f"{name}.sh")
    if not os.access(script, os.X_OK):
        raise Refused(f"Not executable [{script}]")
    network = f"k8s-cni-{environ['__cni']}" if environ.get("__cni") else ""
    if network:
        contract.overlay(environ, network)
    overlays = " ".join(word for word in (environ.get("XOVLS", ""), network) if word)
    own = {key: value for key, value in environ.items() if value or key not in TESTED}
    kept = _plain({**TESTED, **own, "XOVLS": overlays, "XCLUSTER": os.path.join(ROOT, "xc")})
    how = ["--list"] if environ.get("__list") else args[1:]
    sys.stdout.flush()
    os.execve(script, [script, "test", *how], dict(kept))


def _files(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _plain(environ: Environ) -> Mapping[str, str]:
    """The environment without options that upstream's word has consumed."""
    spent = ("__list", "__clear", "__menuconfig", "__version", "__format", "__size", "__bootable", "__kver")
    kept = {key: value for key, value in environ.items() if key not in spent or key in os.environ}
    return kept


def _become(words: Sequence[str], environ: Environ) -> None:
    sys.stdout.flush()
    os.execve(sys.executable, interpreter.xc(*words), dict(_plain(environ)))


def _build(words: Sequence[str], environ: Environ) -> None:
    sys.stdout.flush()
    if os.spawnve(os.P_WAIT, sys.executable, interpreter.xc(*words), dict(_plain(environ))):
        raise Refused(f"{' '.join(words)} was not built")


WORDS: Mapping[str, Does] = {
    "completion": completion,
    "cache": cache,
    "mkimage": mkimage,
    "ximage": ximage,
    "kernel_build": kernel_build,
    "build_base": build_base,
    "k8s_build_images": k8s_build_images,
    "k8s_test": k8s_test,
}
