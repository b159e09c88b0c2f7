"""Upstream's words about a workspace and its host: build_base, base_archives, *_build, env_check, mark ..."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tasks.cli import table
from tasks.cli.upstream import builds
from tasks.cli.upstream.contract import Does, Environ, Refused, values
from tasks.definitions.upstream_names import image_name

if TYPE_CHECKING:
    from tasks.definitions.schema import Kernel

# What upstream compiles for its image, and the package that has it here.
PACKAGES = {"busybox": "busybox-static", "dropbear": "dropbear-bin", "iproute2": "iproute2"}


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


def build_base(environ: Environ, args: Sequence[str]) -> None:
    """Build kernel, image and the base overlays in a new workspace."""
    if args:
        if os.path.exists(args[0]):
            raise Refused(f"Already exists [{args[0]}]")
        environ = {**environ, "XCLUSTER_WORKSPACE": os.path.abspath(args[0])}
    if environ.get("__version"):
        environ = {**environ, "XCLUSTER_VERSION": environ["__version"]}
    settings = values(environ)
    builds.become(
        [f"kernel:{settings['__kver']}", f"image:{image_name(settings['__image'])}", "ovl"], environ
    )


def base_archives(environ: Environ, args: Sequence[str]) -> None:
    """Print what the base build takes from outside: kernel, image and overlays of the settings."""
    from tasks.project import project
    from tasks.project.command_line import Words

    loaded = project.load(Words(), project.environment(environ), lambda workspace, name: None)
    definitions, settings = loaded.definitions, loaded.settings
    rows = [f"kernel {settings.kernel} {text}" for text in _of_kernel(definitions.kernels[settings.kernel])]
    image = definitions.images[settings.image]
    while image.extends:
        image = definitions.images[image.extends]
    rows += [f"image {image.name} deb:{name}" for name in image.packages]
    rows += [f"image {image.name} {source.text}" for source in (image.disk.sources if image.disk else ())]
    for overlay in (definitions.overlays[name] for name in settings.ovls.split()):
        rows += [f"ovl {overlay.name} deb:{name}" for name in overlay.packages]
        rows += [f"ovl {overlay.name} {source.text}" for each in overlay.artifacts for source in each.sources]
    sys.stdout.write("".join(f"{row}\n" for row in rows))


def _of_kernel(kernel: "Kernel") -> Iterator[str]:
    if kernel.prebuilt:
        yield f"deb:{kernel.prebuilt.package}"
    yield from (source.text for source in (kernel.source.sources if kernel.source else ()))


def program_build(name: str, environ: Environ, args: Sequence[str]) -> None:
    """Say which Debian package has the program that upstream compiles here, and whether it is there."""
    if environ.get("__menuconfig"):
        raise Refused(f"--menuconfig: {name} is not compiled here, it is Debian's {PACKAGES[name]}")
    settings = values(environ)
    image = image_name(settings["__image"])
    path = os.path.join(settings["XCLUSTER_WORKSPACE"], "image", "base.packages.json")
    try:
        with open(path, encoding="utf-8") as file:
            versions = {each["name"]: each["version"] for each in json.load(file)["packages"]}
    except FileNotFoundError:
        raise Refused(
            f"{name} is not compiled here: it is Debian's {PACKAGES[name]}, which comes with the image; "
            f"'xc mkimage --image={image}' builds it"
        ) from None
    if PACKAGES[name] not in versions:
        raise Refused(f"the image base has no package {PACKAGES[name]}: put it into images/base/image.yaml")
    sys.stdout.write(f"{name}: Debian's {PACKAGES[name]} {versions[PACKAGES[name]]} is in the image; "
                     "nothing is compiled\n")  # fmt: skip


def env_check(environ: Environ, args: Sequence[str]) -> None:
    """Check this host as doctor does, and print only what is missing."""
    code, text = builds.answer(["doctor", "-o", "json"], environ)
    lacking = [each for each in json.loads(text or b"[]") if each["state"] != "ok"]
    for each in lacking:
        sys.stdout.write(f"{each['state']:<9} {each['what']:<20} {each['text']}\n")
    if code or any(each["state"] == "missing" for each in lacking):
        sys.stdout.flush()
        raise Refused("start needs something that this host lacks")


def mark(environ: Environ, args: Sequence[str]) -> None:
    """Note the time since the first mark and since the last one; `mark clean` begins anew."""
    path = environ.get("__mark_file") or os.path.join(values(environ)["XCLUSTER_TMP"], "marks")
    if args[:1] == ["clean"]:
        if os.path.exists(path):
            os.unlink(path)
        return
    now = time.time()
    try:
        with open(path, encoding="utf-8") as file:
            times = [float(line.split()[0]) for line in file]
    except FileNotFoundError:
        times = []
    except (ValueError, IndexError):
        raise Refused(f"Not a file of marks [{path}]") from None
    first, last = (times[0], times[-1]) if times else (now, now)
    text = " ".join(args)
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{now:.3f} {' '.join(text.split())}\n")
    sys.stdout.write(f"{now - first:8.1f} s {now - last:+8.1f} s  {text}".rstrip() + "\n")


WORDS: Mapping[str, Does] = {
    "completion": completion,
    "build_base": build_base,
    "base_archives": base_archives,
    **{f"{name}_build": partial(program_build, name) for name in PACKAGES},
    "env_check": env_check,
    "mark": mark,
}
