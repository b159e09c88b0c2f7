"""image + overlays on the ISO ──> the layers below the files of containers, which all of them share

The overlays are unpacked once for each content of image and ISO, in a container, by the image's own /init:
so it comes out as in a virtual machine, whatever a tar does to the files of the image.
"""

import os
import time
from dataclasses import replace
from pathlib import Path

from tasks.base import files, helper, locks, proc, process_facts, progress
from tasks.base.errors import UserError
from tasks.base.paths import NodeDir, Workspace
from tasks.build.image import rootfs
from tasks.definitions.settings import Settings
from tasks.formats import iso9660
from tasks.run.net import host_support
from tasks.run.node import container_node, control_port, image_directory
from tasks.run.node.protocol import Layers

PATIENCE = 180.0  # seconds for the overlays to be unpacked
EVENTS = "events.json"  # the lines that were sent meanwhile; it comes last
OVERLAYS = "/run/overlays"  # where /init of a container finds the tars


def missing(settings: Settings, workspace: Workspace) -> list[str]:
    """What was not built of what containers are made from."""
    if rootfs.directory(workspace, settings.image):
        return []
    return [f"the files of image '{settings.image}' are not there: `xc rootfs:{settings.image}` builds them"]


def prepare(settings: Settings, workspace: Workspace) -> Layers:
    """The layers for the containers of this cluster, made where they are not there.

    UserError when the image was not built, or the overlays cannot be unpacked at all.
    """
    image = rootfs.directory(workspace, settings.image)
    if image is None:
        raise UserError(missing(settings, workspace)[0])
    iso, images = workspace.iso(settings.name), image_directory.prepare(settings, workspace)
    if not iso.is_file():
        return Layers(image, None, (), images, cgroups=settings.cgroups)
    disk = workspace.root.stat().st_dev  # over another one there may be no overlayfs
    place = workspace.rootfs("overlays") / files.digest([image.name, files.sha256(iso), disk])[:16]
    with locks.locked(place.with_suffix(".lock")):
        if not ((place / "layer" / "upper").is_dir() and "whole" in files.read_json(place / EVENTS)):
            _unpack(image, iso, place)
        os.utime(place)
        rootfs.forget_old(place.parent, place)
    facts = files.read_json(place / EVENTS)
    layers = Layers(
        image, place / "layer" / "upper", tuple(facts["events"]), images, cgroups=settings.cgroups
    )
    if facts["whole"]:
        progress.say("this kernel gives users no overlayfs here: each container has a copy of its files")
        return replace(layers, image=place / "layer" / "upper", overlays=None)
    return layers


def _unpack(image: Path, iso: Path, place: Path) -> None:
    """Make the layer: the container's own one when its /init has unpacked the tars."""
    with files.atomic(place, directory=True) as temp:
        temp.chmod(0o700)  # overlays may have keys in them
        own = NodeDir(temp)
        container_node.make_folders(temp)
        (temp / "tars").mkdir()
        iso9660.extract(iso, temp / "tars")
        more = {
            "binds": [[str(temp / "tars"), OVERLAYS]],
            "cmdline": f"xc_wait={PATIENCE:.0f}",
            "say": "go\n",
        }
        text = container_node.spec("template", [image], temp, "template")
        files.write_json(temp / container_node.SPEC, {**text, **more})
        _run(own)
        heard = (temp / "control.log").read_text(errors="replace")
        if f"{control_port.PHASE} overlays" not in heard:
            raise UserError(f"the overlays cannot be unpacked for containers: {_last_words(own)}")
        whole = (temp / "layer/work/copied").is_dir()  # as programs/container_files.py names it
        for name in ("tars", "stage", "layer/work"):
            files.remove(temp / name)
        lines = [line for line in heard.splitlines() if not line.startswith(control_port.HELLO)]
        files.write_json(temp / EVENTS, {"events": lines, "whole": whole})


def _run(own: NodeDir) -> None:
    """Run the container that unpacks until it ends. UserError when it does not."""
    words = container_node.command(own.root, host_support.fence())
    process = proc.spawn(words, own.qemu_log)
    try:
        until = time.monotonic() + PATIENCE
        while process.poll() is None:
            if time.monotonic() > until:
                raise UserError(f"the overlays are not unpacked after {PATIENCE:.0f} s: {_last_words(own)}")
            time.sleep(0.005)
    finally:
        process_facts.kill(process.pid, process_facts.started_at(process.pid) or -1, grace=0.5)
        process.wait()


def _last_words(own: NodeDir) -> str:
    texts = [helper.end_of(log) for log in (own.qemu_log, own.console_log) if log.is_file()]
    return "; ".join(texts)
