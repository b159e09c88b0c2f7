"""What this host has, what is missing and how to get it, and whether KVM works."""

import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.base import files, limits, odd_signs, output, proc, progress
from tasks.base.errors import UsageError, UserError
from tasks.build.kernel import kbuild
from tasks.build.release import shipped
from tasks.definitions import overlay_path
from tasks.project.project import Does, Project, wrong_for_start
from tasks.run.cluster import leftovers
from tasks.run.net import host_support, obstacles, selection, surroundings
from tasks.run.net.protocol import Ports
from tasks.run.node import accel
from tasks.run.running.cluster import Running

FOR_START = (
    "qemu-system-x86_64",
    "qemu-img",
    "mke2fs",
    "debugfs",
    "ssh",
    "ssh-keygen",
    "scp",
    "socat",
    "dpkg-deb",
    "apt-get",
    "tar",
    "depmod",
)
OPTIONAL = {
    "xterm": "console windows",
    "dot": "pictures as svg and png (xc graph)",
    "dnsmasq": "names for guests, where there is no coredns",
    "sqfstar": "for container images before the start",
    "openssl": "for a private registry with https",
    "xz": "disk images from outside, releases",
    "zstd": "disk images from outside",
    "go": "programs from Go modules",
}
ROOM = 4  # GiB that a first build with a kernel of its own takes


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `state` is ok, missing (nothing works without it) or optional."""

    what: str
    state: str
    text: str


def _doctor(project: Project) -> None:
    if "leftovers" in project.words.options:
        _leftovers(project)
        return
    if "remove" in project.words.options:
        raise UsageError("--remove goes with --leftovers", project.words.usage)
    rows = findings(project)
    if project.words.options.get("o") == "json":
        output.as_json([asdict(each) for each in rows])
    else:
        for each in rows:
            sys.stdout.write(f"{each.state:<9} {each.what:<20} {each.text}\n")
    bad = [each.what for each in rows if each.state == "missing"]
    if bad:
        raise UserError(f"start needs programs or devices that are missing: {', '.join(bad)}")


def _leftovers(project: Project) -> None:
    """Show what no cluster owns, or end and remove it."""
    left = leftovers.every(project.workspace)
    removes = "remove" in project.words.options
    if removes:
        leftovers.remove(left)
    if project.words.json:
        output.as_json(
            [{"kind": each.kind, "what": each.what, "why": each.why, "ours": bool(each.end)} for each in left]
        )
        return
    for each in left:
        how = ("removed  " if each.end else "not ours ") if removes else ""
        sys.stdout.write(f"{how}{each.kind:<10} {each.what}: {each.why}\n")
    if not left:
        progress.say("nothing is left that no cluster owns")
    elif not removes:
        progress.say("`xc doctor --leftovers --remove` ends and removes them, but for what is another user's")


def findings(project: Project) -> list[Finding]:
    """One finding for each thing that this project needs or can use on this host."""
    rows = [_program(name, "missing", "needed to start") for name in FOR_START]
    tools = [name for name in kbuild.TOOLS if name not in FOR_START]
    rows += [_program(name, "optional", "to build a kernel") for name in tools]
    rows += [_header(name, package) for name, package in kbuild.HEADERS.items()]
    rows += [_program(name, "optional", use) for name, use in OPTIONAL.items()]
    rows += [
        _accel(project),
        *_nets(project),
        _processors(),
        _memory(),
        _disk(project.workspace.root),
        *_definitions(project),
        *(Finding("overlays", "optional", line) for line in overlay_path.faults(project.environ)),
        *_release(project),
        *_clusters(project),
    ]
    return rows


def _program(name: str, without: str, use: str) -> Finding:
    where = proc.find(name)
    if where:
        return Finding(name, "ok", where)
    return Finding(
        name, without, f"{use}: apt-get install --no-install-recommends {proc.DEBIAN_PACKAGE[name]}"
    )


def _header(name: str, package: str) -> Finding:
    if kbuild.has(name):
        return Finding(package, "ok", "headers are there")
    return Finding(
        package, "optional", f"to build a kernel: apt-get install --no-install-recommends {package}"
    )


def _accel(project: Project) -> Finding:
    verdict = accel.recall(project.workspace)
    facts = files.read_json(project.workspace.stamp("kernel", project.settings.kernel))
    if verdict is None and facts:
        kernel = project.workspace.kernel(project.settings.kernel) / facts["boot"]
        verdict = accel.choose("auto", project.workspace, kernel)
    if verdict is None:
        return Finding(
            "accelerator", "ok", "not known yet: the first start boots a tiny guest to see if KVM works"
        )
    return Finding("accelerator", "ok", f"{verdict.accel}: {verdict.why}")


def _nets(project: Project) -> list[Finding]:
    """Which network backends work, and which one `auto` is."""
    missing = obstacles.of_bridges()
    bridges = "; ".join(missing) or host_support.choice()
    script = project.settings.net_setup
    custom = (
        "; ".join(selection.get("custom", script).preflight((), Ports(0, None))) if script else "no net_setup"
    )
    name, why = selection.decide(project.settings)
    return [
        Finding("net userspace", "ok", "works everywhere"),
        Finding("net bridge", "optional" if missing else "ok", bridges),
        Finding("net custom", "ok" if script and not custom else "optional", custom or script),
        Finding("net", "ok", f"{name}: {why}"),
        *(
            Finding("surroundings", "optional", line)
            for line in surroundings.warnings(project.settings.nodes(), name)
        ),
    ]


def _memory() -> Finding:
    memory = limits.memory()
    text = f"{memory.free} MiB free" + ("" if memory.of == "the host" else f" in {memory.of}")
    return Finding("memory", "ok" if memory.free > 512 else "missing", text)


def _processors() -> Finding:
    mine, all_ = limits.processors(), os.cpu_count() or 1
    return Finding("processors", "ok", f"{mine}" + (f" of the host's {all_}" if mine < all_ else ""))


def _disk(root: Path) -> Finding:
    place = next(path for path in (root, *root.parents) if path.exists())  # where it is going to be
    free = shutil.disk_usage(place).free >> 30
    try:
        odd_signs.refuse(root, odd_signs.ANYWHERE, "builds and clusters")
    except UsageError as error:
        return Finding("workspace", "missing", f"{error.message}; {error.hint}")
    writable = os.access(place, os.W_OK)
    state = "ok" if writable and free >= ROOM else "missing"
    return Finding("workspace", state, f"{root}: {free} GiB free{'' if writable else ', not writable'}")


def _definitions(project: Project) -> list[Finding]:
    needed = wrong_for_start(project)
    problems = list(dict.fromkeys([*needed, *project.definitions.problems]))
    if not problems:
        counts = (
            len(project.definitions.kernels),
            len(project.definitions.images),
            len(project.definitions.overlays),
        )
        return [Finding("definitions", "ok", "{} kernels, {} images, {} overlays".format(*counts))]
    return [Finding("definitions", "missing" if each in needed else "optional", each) for each in problems]


def _release(project: Project) -> list[Finding]:
    """Whether the files of an unpacked release are as they were when it was packed."""
    version = files.read_json(project.workspace.shipped).get("version")
    if version is None:
        return []
    damaged, edited = shipped.changed(shipped.Location(project.root, project.workspace))
    text = f"{version}, {len(edited)} files edited: {', '.join(edited[:5])}" if edited else str(version)
    release = [Finding("release", "ok", text)]
    hint = "not as the release brought it; if it was not made anew here, unpack the release again"
    return release + [Finding("release", "missing", f"{name} is {hint}") for name in damaged]


def _clusters(project: Project) -> list[Finding]:
    names = [each.name for each in Running.every(project.workspace)]
    return [Finding("clusters", "ok", ", ".join(names) or "none is running")]


DOES: Does = {"doctor": _doctor}
