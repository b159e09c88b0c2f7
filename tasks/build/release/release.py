"""The tree as git tracks it + what `start` needs, built ──release──> release/<V>/{xcluster-<V>.tar.xz,...}

Unpacked anywhere, `xc start` works without network and without building. The same commit and the same
packages give the same bytes, wherever and by whomever it is made.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tasks.base import files, locks, programs, progress
from tasks.base.errors import UsageError, UserError
from tasks.build.overlay import ovl
from tasks.build.release import bill, git, licences, parts, shipped, spdx, wheels
from tasks.definitions import image_chain, iso_choice
from tasks.definitions.settings import Settings
from tasks.engine import kit, record
from tasks.formats import xztar
from tasks.project.given_images import GivenImage
from tasks.project.project import Project, source_date_epoch

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
# Settings that decide what a start needs; where they are not the default, the release says so.
DECIDING = ("kernel", "image", "ovls", "suite", "name", "dns_server")
SERVER = "artifact:coredns"
SUMS, SBOM, PROVENANCE = "SHA256SUMS", "sbom.spdx.json", "provenance.json"


@dataclass(frozen=True)
class ReleasePlan:
    """A release, decided before anything is made."""

    version: str
    commit: str
    changed: tuple[str, ...]  # files that are not as in the commit
    tree: tuple[tuple[str, str], ...]  # (path, git's mode)
    settings: Mapping[str, str]  # that are not the default
    environ: Mapping[str, str]  # that decides bytes
    tasks: tuple[str, ...]  # whose outcome is in it
    disks: Mapping[str, str]  # file name -> image
    epoch: int


@dataclass(frozen=True)
class ReleaseTasks:
    """The tasks of the release by name, and where."""

    NO_INPUT: ClassVar = True  # what they make is a dependency

    project: Project
    tasks: Mapping[str, kit.Task]
    built: Sequence[kit.Task]  # all tasks that build something

    @property
    def location(self) -> shipped.Location:
        """Where the project is."""
        return shipped.Location(self.project.root, self.project.workspace)


def tasks(project: Project, chosen: iso_choice.IsoChoice, built: list[kit.Task]) -> kit.Tasks:
    """The task `release` and that of its wheels, where they are asked for: git has to be asked too."""
    if project.words.verb != "release":
        yield kit.group("release", "Archives that start a cluster elsewhere")
        return
    names = _names(project, chosen)
    checkout = git.look(project.root)
    # A container image is not in a release: who starts a cluster of it pulls or makes it.
    shippable = [task for task in built if task["basename"] != "pull"]
    names += [SERVER] if _has_server(project, built) else []
    inside = ReleaseTasks(project, shipped.closure(shippable, names), built)
    plan = _plan(project, checkout, inside)
    _refuse(inside, chosen, checkout)
    _tell(plan, checkout, chosen)
    yield from wheels.tasks(project)
    outputs = [f"xcluster-{plan.version}.tar.xz", *plan.disks, SBOM, PROVENANCE, SUMS]
    folder = project.workspace.release(plan.version)
    deps = [project.root / path for path, mode in plan.tree if mode != git.LINK]
    deps += [
        Path(path) for task in inside.tasks.values() for path in task["targets"] if path.endswith(".json")
    ]
    recipe = kit.Recipe(
        write,
        [plan, inside],
        deps=[*deps, wheels.stamp(project)],
        inputs={
            "links": [(path, str((project.root / path).readlink())) for path, m in plan.tree if m == git.LINK]
        },
        code=(xztar, bill, licences, parts, spdx, shipped),
    )
    task = kit.task("release", None, recipe, [folder / name for name in outputs], also=[folder])
    yield kit.accepting(task, project.words)


def _names(project: Project, chosen: iso_choice.IsoChoice) -> list[str]:
    """The tasks whose outcome a release brings."""
    wrong = [line for word in project.words.args for line in project.definitions.lacking("overlay", word)]
    if wrong:
        raise UsageError("release: " + "; ".join(wrong))
    more = [ovl.recipe(project, ovl.resolve(project, word), ovl.plain(chosen)) for word in project.words.args]
    names = [f"kernel:{project.settings.kernel}", f"image:{project.settings.image}", "mkcdrom"]
    names += [f"image:{image}" for image in _disks(project).values()]
    return names + [f"ovl:{each.key}" for each in more]


def _has_server(project: Project, built: Sequence[kit.Task]) -> bool:
    """Whether a release brings a CoreDNS: unless it is not to be used, or cannot be made and is no must."""
    choice, name = project.settings.dns_server, SERVER.partition(":")[2]
    if choice == "dnsmasq" or SERVER not in map(record.name_of, built):
        return False
    if choice == "auto" and not (programs.find("go") or project.workspace.bin(name).is_file()):
        progress.say("release: Go is not here, so no CoreDNS is in it, and dnsmasq serves there")
        return False
    return True


def _disks(project: Project) -> dict[str, str]:
    """The disks that are files of their own, by upstream's names: the base image, and k8s if it is built."""
    disks = {"hd.img.xz": image_chain.base_image(project.definitions.images, project.settings.image).name}
    if "k8s" in project.definitions.images and project.workspace.image("k8s").is_file():
        disks["hd-k8s.img.xz"] = "k8s"
    return disks


def _plan(project: Project, checkout: git.Checkout, inside: ReleaseTasks) -> ReleasePlan:
    version = project.words.options.get("version") or checkout.version
    if not VERSION.fullmatch(version):
        raise UsageError(
            f"--version: '{version}' cannot be the name of a release",
            "use letters, digits and . _ + ~ - (at most 64); begin with a letter or digit",
        )
    default = Settings()
    own = {key: str(getattr(project.settings, key)) for key in DECIDING}
    return ReleasePlan(
        version,
        checkout.commit,
        checkout.changed,
        checkout.tracked,
        {key: value for key, value in own.items() if value != getattr(default, key)},
        {key: project.environ[key] for key in shipped.DECISIVE if project.environ.get(key)},
        tuple(inside.tasks),
        _disks(project),
        source_date_epoch(project.environ),
    )


def _refuse(inside: ReleaseTasks, chosen: iso_choice.IsoChoice, checkout: git.Checkout) -> None:
    """Raise UserError for what an unpacked release would not have: all of it at once."""
    root, workspace = inside.project.root, inside.project.workspace.root
    tracked = {path for path, _ in checkout.tracked}
    problems = [f"{word} is outside of the checkout" for word in chosen.words if word.startswith("/")]
    image = inside.project.definitions.images.get(inside.project.settings.image)
    problems += [f"__image={image.path} is outside of the checkout"] if isinstance(image, GivenImage) else []
    problems += [f"{path} is outside of the checkout" for path in (chosen.cidata, chosen.script) if path]
    problems += [
        f"{k}={v} is a path of this machine" for k, v in chosen.env.items() if v.startswith(("/", "~"))
    ]
    for name, task in inside.tasks.items():
        recipe = kit.recipe_of(task)
        reads = recipe.reads if recipe else ()
        for dep in task["file_dep"]:
            path = Path(dep)
            if path.is_relative_to(workspace) or dep in reads:
                continue
            if not path.is_relative_to(root):
                problems.append(f"{name} needs {dep}, which is outside of the checkout")
            elif str(path.relative_to(root)) not in tracked:
                problems.append(f"{name} needs {path.relative_to(root)}, which git does not track")
        noun, _, rest = name.partition(":")
        folder = {"ovl": "ovl", "image": "images", "kernel": "kernel"}.get(noun, "/")
        beside = (f"{folder}/{rest.partition('@')[0]}/", f"kernel/{rest}.yaml")
        problems += [
            f"{name} needs {p}, which git does not track" for p in checkout.untracked if p.startswith(beside)
        ]
    if problems:
        raise UserError(
            "the release would lack files that it needs:\n"
            + "\n".join(f"  {line}" for line in sorted(set(problems))),
            "`git add` files; choose other overlays with `xc mkcdrom`, in an environment without such paths",
        )


def _tell(plan: ReleasePlan, checkout: git.Checkout, chosen: iso_choice.IsoChoice) -> None:
    """What a person should know before the release is given to others."""
    if chosen.env:
        values = " ".join(f"{key}={value}" for key, value in sorted(chosen.env.items()))
        progress.say(f"release {plan.version}: its overlays are built with what mkcdrom recorded: {values}")
    for what, paths in (
        ("not committed", checkout.changed),
        ("not tracked and left out", checkout.untracked),
    ):
        if paths:
            more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
            progress.say(f"release {plan.version}: {what}: {', '.join(paths[:5])}{more}")


def write(plan: ReleasePlan, inside: ReleaseTasks) -> None:
    """Write the archives, their bill of materials and their checksums"""
    workspace = inside.project.workspace
    folder = workspace.release(plan.version)
    contents = _contents(inside)
    with locks.locked(folder.with_name(f"{plan.version}.lock")), files.atomic(folder, directory=True) as temp:
        manifest = shipped.manifest(inside.tasks, inside.location, {**_tree(plan, inside), **contents})
        entries = _entries(plan, inside, contents, manifest)
        main = f"xcluster-{plan.version}.tar.xz"
        disks = {name: workspace.image(image) for name, image in plan.disks.items()}
        total = sum(entry.size for entry in entries) + sum(path.stat().st_size for path in disks.values())
        with progress.Bar("compressing", total, unit="iB") as bar:
            xztar.write_tar_xz(entries, temp / main, plan.epoch, bar.add)
            for name, path in disks.items():
                xztar.write_xz(path, temp / name, bar.add)
        _write_bill(plan, inside, temp, manifest["files"])
        names = sorted(path.name for path in temp.iterdir())
        (temp / SUMS).write_text("".join(f"{files.sha256(temp / name)}  {name}\n" for name in names))
        sizes = {path.name: path.stat().st_size for path in sorted(temp.iterdir())}
    for name, size in sizes.items():
        progress.say(f"  {progress.amount(size):>10}  {folder / name}")


def _write_bill(plan: ReleasePlan, inside: ReleaseTasks, folder: Path, hashes: dict[str, Any]) -> None:
    outputs = sorted(folder.iterdir())
    by_name = {record.name_of(task): task for task in inside.built if task.get("targets")}
    built = bill.built_files(inside.tasks, by_name, inside.project.site, hashes)
    built += bill.disks(plan.disks, folder, built)
    project = tomllib.loads((inside.project.root / "pyproject.toml").read_text())["project"]
    tool, licence = f"{project['name']}-{project['version']}", project["license"]["text"]
    files.write_json(folder / SBOM, spdx.document(plan.version, built, plan.epoch, tool, licence))
    tree = [[name, mode, hashes[name] if name in hashes else ""] for name, mode in plan.tree]
    parameters = {"settings": plan.settings, "environ": plan.environ, "tasks": plan.tasks}
    source = bill.ReleaseSource(plan.version, plan.commit, plan.changed, files.digest(tree), parameters)
    files.write_json(folder / PROVENANCE, bill.provenance(source, built, [*outputs, folder / SBOM]))


def _tree(plan: ReleasePlan, inside: ReleaseTasks) -> dict[str, Path]:
    """The tracked files by name; links say where they lead, and have no content to check."""
    return {path: inside.project.root / path for path, mode in plan.tree if mode != git.LINK}


def _contents(inside: ReleaseTasks) -> dict[str, Path]:
    """What was built, by name in the release: targets, and all of a kernel's directory."""
    workspace = inside.project.workspace
    paths = {Path(target) for task in inside.tasks.values() for target in task["targets"]}
    for name in inside.tasks:
        if name.startswith("kernel:"):
            paths |= set(files.tree_files(workspace.kernel(name.partition(":")[2])))
    choice_file = workspace.choice(inside.project.settings.name)
    paths |= {wheels.stamp(inside.project), *files.tree_files(workspace.wheels)}
    paths |= {choice_file} if choice_file.is_file() else set()
    return {inside.location.packed(path): path for path in sorted(paths)}


def _entries(
    plan: ReleasePlan, inside: ReleaseTasks, contents: Mapping[str, Path], manifest: dict[str, Any]
) -> list[xztar.TarEntry]:
    top = f"xcluster-{plan.version}"
    facts = {"version": plan.version, "commit": plan.commit, "environ": plan.environ}
    text = json.dumps({**manifest, **facts}, indent=1, sort_keys=True) + "\n"
    entries = [
        xztar.TarEntry(f"{top}/{name}", path, executable=bool(path.stat().st_mode & 0o100))
        for name, path in contents.items()
    ]
    entries.append(xztar.TarEntry(f"{top}/workspace/shipped.json", text.encode()))
    if plan.settings:
        lines = [
            "# What this release was made with.",
            *(f"{k}: {json.dumps(v)}" for k, v in plan.settings.items()),
        ]
        entries.append(xztar.TarEntry(f"{top}/xcluster.yaml", "\n".join(lines).encode() + b"\n"))
    for path, mode in plan.tree:
        source = inside.project.root / path
        if mode == git.LINK:
            entries.append(xztar.TarEntry(f"{top}/{path}", link=str(source.readlink())))
        else:
            entries.append(xztar.TarEntry(f"{top}/{path}", source, executable=mode == "100755"))
    return entries
