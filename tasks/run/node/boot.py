"""Settings and artifacts -> what nodes are started from."""

import re
from pathlib import Path
from typing import Any

from tasks.base import files, seals
from tasks.base.errors import UserError
from tasks.base.paths import Workspace
from tasks.definitions.settings import Settings
from tasks.run.node import accel, qemu
from tasks.run.node.protocol import Boot


def cold(settings: Settings, workspace: Workspace) -> tuple[Boot, accel.Verdict]:
    """What an ordinary boot is made from, as the stamps of the artifacts say, and the accelerator.

    For `accel=auto` a tiny guest may be booted. UserError when kernel or image were not built.
    """
    folder = workspace.kernel(settings.kernel)
    facts = _stamp(workspace, "kernel", settings.kernel, "boot")
    image = _stamp(workspace, "image", settings.image, "files")
    verdict = accel.choose(settings.accel, workspace, folder / facts["boot"])
    iso = workspace.iso(settings.name)
    ordinary = Boot(
        kernel=folder / facts["boot"],
        initramfs=folder / "initramfs.cpio" if facts.get("initramfs") else None,
        modules=folder / "modules.img" if facts.get("modules") else None,
        cmdline=str(facts.get("cmdline", "")),
        image=workspace.image(settings.image),
        iso=iso if iso.is_file() else None,
        containers=containers(settings, workspace),
        accel=verdict.accel,
        machine=settings.machine,
        extra=settings.kvm_opt,
        mptable=bool(facts.get("mptable")),
        lpj=_loops(int(facts.get("hz") or 0)),
        root=str(image.get("root", "/dev/vda")),
        khz=_khz(),
    )
    return ordinary, verdict


def kernel(settings: Settings, workspace: Workspace) -> Path | None:
    """What a machine boots, if it was built."""
    name = files.read_json(workspace.stamp("kernel", settings.kernel)).get("boot")
    path = workspace.kernel(settings.kernel) / str(name)
    return path if name and path.is_file() else None


def missing(settings: Settings, workspace: Workspace, boot: Boot) -> list[str]:
    """The files of kernel and image that are not there, or not as they were built, and what builds them."""
    parts = (boot.kernel, boot.initramfs, boot.modules)
    builds = {path: f"xc kernel:{settings.kernel}" for path in parts if path}
    builds |= {boot.image: f"xc image:{settings.image}"}
    lost = {path: "is not there" for path in builds if not path.is_file()}
    lost |= {path: why for path in builds if (why := seals.fault(workspace.seals, path))}
    return [f"{path} {why}: `{builds[path]}` builds it" for path, why in lost.items()]


def containers(settings: Settings, workspace: Workspace) -> Path | None:
    """The disk with the cluster's container images."""
    key = files.read_json(workspace.stored(settings.name)).get("key")
    return workspace.store(str(key)) if key else None


def contents(settings: Settings, workspace: Workspace) -> list[str]:
    """The hashes of what a guest is made of: kernel and modules, image, container images if it has any."""
    stamps = [workspace.stamp("kernel", settings.kernel), workspace.stamp("image", settings.image)]
    stamps += [workspace.stored(settings.name)] if workspace.stored(settings.name).is_file() else []
    return [files.digest(files.read_json(stamp).get("files", {})) for stamp in stamps]


def artifact_hashes(settings: Settings, workspace: Workspace) -> dict[str, str]:
    """The same by name, with QEMU itself: a saved state can only be used with the same ones."""
    kernel, image = contents(settings, workspace)[:2]
    return {"kernel": kernel, "image": image, "qemu": files.digest(qemu.program())}


def _stamp(workspace: Workspace, noun: str, name: str, key: str) -> dict[str, Any]:
    """The stamp of an artifact, with `key` in it; a damaged one is as good as none."""
    stamp = files.read_json(workspace.stamp(noun, name))
    if key not in stamp:
        raise UserError(f"the {noun} '{name}' is not in {workspace.root}", f"build it: xc {noun}:{name}")
    return stamp


def _khz(cpus: Path = Path("/proc/cpuinfo")) -> int | None:
    """The frequency of the host's time stamp counter, which emulated guests read; None if it may vary.

    From bogomips, which is twice that frequency in MHz.
    """
    text = cpus.read_text()
    bogomips = re.search(r"^bogomips\s*:\s*([0-9.]+)", text, re.M)
    constant = re.search(r"^flags\s*:.*\bconstant_tsc\b", text, re.M)
    return round(float(bogomips.group(1)) * 1000 / 2) if bogomips and constant else None


def _loops(hz: int) -> int | None:
    """Loops per jiffy: a loop takes one cycle, as the kernel presets it where it knows the frequency.

    From bogomips, which is twice the frequency that does not vary, in MHz.
    """
    bogomips = re.search(r"^bogomips\s*:\s*([0-9.]+)", Path("/proc/cpuinfo").read_text(), re.M)
    return int(float(bogomips.group(1)) * 1e6 / 2 / hz) if bogomips and hz else None
