"""All inputs ──lock──> xcluster.lock, which builds compare with; ──fetch──> the cache, for --offline."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.base import files, output, progress
from tasks.base.errors import UsageError, UserError, unknown
from tasks.build.image import disk
from tasks.build.sources import apt, artifact, download, golang, origins, packages, requested
from tasks.build.sources.suite import suites
from tasks.build.stock import inputs
from tasks.definitions import lockfile
from tasks.definitions.artifact_sources import Artifact, Source
from tasks.definitions.package_request import PackageRequest
from tasks.project import command_line
from tasks.project.project import After, Does, Project


@dataclass(frozen=True)
class Input:
    """One line of xcluster.lock. `now` finds out what it is; None: only a download could tell."""

    kind: str
    name: str
    now: Callable[[], lockfile.Pin | None]
    suite: str = ""  # of a package

    @property
    def words(self) -> set[str]:
        """What a user may call it."""
        return {self.name, self.name.partition(" ")[0], self.suite} - {""}


def _lock(project: Project) -> None:
    arguments = set(project.words.args)
    listed = list(_inputs(project, arguments))
    lost = arguments - {word for each in listed for word in each.words}
    if lost:
        named = {word for each in listed if each.kind != "packages" for word in each.words if " " not in word}
        raise UsageError(
            "; ".join(unknown("input", word, {*named, *suites(project)}) for word in sorted(lost))
        )
    old = lockfile.read(project.site.lock)
    new: dict[str, dict[str, Any]] = {kind: {} for kind in lockfile.KINDS}
    trouble = [text for each in listed for text in _pin(each, old, new, project.words)]
    changed = new != old
    check = "check" in project.words.options
    if changed and not check:
        assert project.site.lock
        files.write_json(project.site.lock, new)
    _say(new, changed, check, as_json=project.words.json)
    if trouble or (check and changed):
        lines = trouble or ["it does not name exactly the inputs of the definitions"]
        raise UserError(
            f"{lockfile.FILE} is not up to date:\n" + "\n".join(f"  {line}" for line in lines),
            "xc lock adds what is new; xc lock --update NAME accepts what has changed",
        )


def _say(new: Mapping[str, Mapping[str, object]], changed: bool, check: bool, *, as_json: bool) -> None:
    counts = [len(new["artifacts"]), len(new["images"])]
    count = sum(len(names) for names in new["packages"].values() if isinstance(names, dict))
    if as_json:
        facts = {"artifacts": counts[0], "images": counts[1], "packages": count}
        output.as_json({"file": lockfile.FILE, **facts, "changed": changed, "written": changed and not check})
    did = "would change" if changed and check else "written" if changed else "as it was"
    progress.say(f"{lockfile.FILE}: {counts[0]} artifacts, {counts[1]} images, {count} packages; {did}")


def _pin(
    each: Input, old: Mapping[str, Any], new: dict[str, dict[str, Any]], words: command_line.Words
) -> list[str]:
    """Put what one input is into `new`: as it was pinned, or as it is now. What is wrong with it."""
    before, after = old[each.kind], new[each.kind]
    if each.suite:
        before, after = before.get(each.suite, {}), after.setdefault(each.suite, {})
    pinned, named = before.get(each.name), set(words.args) & each.words
    if pinned:
        after[each.name] = pinned
    update = "update" in words.options and (named or not words.args)
    if words.args and not named:
        return []
    try:
        now = each.now()
    except UserError as error:
        return [f"{each.name}: {error}"]
    if now is None:
        if not pinned:
            name = each.name.partition(" ")[0]
            progress.say(
                f"not pinned: {each.name}: no version or checksum is given; "
                f"`xc lock {name}` fetches it and pins what comes"
            )
        return []
    differ = lockfile.differences(pinned or {}, now)
    if not pinned or update:
        after[each.name] = dict(now)
    elif differ:
        return [f"{each.name}: {line}" for line in differ]
    return []


def _inputs(project: Project, arguments: set[str]) -> Iterator[Input]:
    """Every input of the definitions, so that the file is the same for all who have these.

    Those whose content only a download tells say what they are where they are
    named in `arguments`."""
    seen = set()
    for request in dict.fromkeys(request for _, request in inputs.packages(project, {})):
        for package in requested.plan(request, project.site):
            if (request.suite, package.name) not in seen:
                seen.add((request.suite, package.name))
                yield Input("packages", package.name, _constant(packages.pin(package)), request.suite)
    for name, (each, _) in artifact.named(project).items():
        for source in each.sources:
            own = source.go and source.go.directory  # its go.sum pins it
            if (source.go or source.url or source.deb) and not own:
                pin_name = origins.pin_name(each, source)
                yield Input("artifacts", pin_name, _of_source(project, each, source, name in arguments))
    for image in disk.disks(project):
        yield Input(
            "images", image.name, _of_disk(project, disk.request(project, image), image.name in arguments)
        )


def _constant(pin: lockfile.Pin) -> Callable[[], lockfile.Pin]:
    return lambda: pin


def _of_source(
    project: Project, owner: Artifact, source: Source, named: bool
) -> Callable[[], lockfile.Pin | None]:
    def now() -> lockfile.Pin | None:
        if source.url:
            return {"url": source.url, "sha256": str(source.sha256 or owner.sha256)}
        if source.deb:
            archive = apt.archive(project.site, source.suite)
            (package,) = apt.planned(archive, [source.deb], alone=True)
            sha256 = source.sha256 or owner.sha256
            return {"version": package.version, **({"sha256": sha256} if sha256 else {})}
        assert source.go
        pinned = lockfile.of(project.site.lock, "artifacts", origins.pin_name(owner, source))
        fresh = named and (not pinned or "update" in project.words.options)
        version = source.go.version or ("latest" if fresh else pinned.get("version"))
        if version is None:
            return None
        module = golang.module(source.go, version, project.site)
        return {"version": module.version, "h1": module.h1}

    return now


def _of_disk(project: Project, request: disk.DiskRequest, named: bool) -> Callable[[], lockfile.Pin | None]:
    def now() -> lockfile.Pin | None:
        fresh = named and (not request.pinned or "update" in project.words.options)
        sha256 = request.definition.sha256 or request.pinned.get("sha256")
        if fresh and not request.definition.sha256:
            urls = disk.places(request, project.site)
            if not urls or project.site.offline:
                raise UserError("none of its files is there" if not urls else "--offline is set")
            folder = project.workspace.content("x").parent
            sha256 = download.learn(urls, f"new-{request.name}", folder, project.site.download_timeout)
        url = next((source.url for source in request.definition.sources if source.url), None)
        return {"sha256": sha256, **({"url": url} if url else {})} if sha256 else None

    return now


def _fetch(project: Project) -> None:
    """Get all; what fails does not keep the rest from coming."""
    wrong, before = [], progress.downloaded()
    for what, get in _gettable(project):
        try:
            get()
        except UserError as error:
            wrong.append(f"{what}: {error}")
    fetched = progress.downloaded() - before
    if project.words.json:
        output.as_json({"downloaded_bytes": fetched, "failed": wrong})
    progress.say(f"{progress.amount(fetched)} downloaded")
    if wrong:
        raise UserError("some inputs could not be fetched:\n" + "\n".join(f"  {line}" for line in wrong))


def _gettable(project: Project) -> Iterator[tuple[str, Callable[[], object]]]:
    site = project.site
    users: dict[PackageRequest, str] = {}
    extra = inputs.overlays(project)
    for user, request in inputs.packages(project, extra):
        users.setdefault(request, user)
    for request, user in users.items():
        yield user, partial(requested.fetch, request, site)
    for name, (each, base) in artifact.named(project, extra.values()).items():
        if _is_open(project, each):
            progress.say(f"left out: artifact {name} has no version; `xc lock {name}` pins one")
            continue
        yield f"artifact:{name}", partial(artifact.get, each, base, site)
    for image in disk.disks(project):
        of_disk = disk.request(project, image)
        if not (of_disk.definition.sha256 or of_disk.pinned):
            progress.say(
                f"left out: image {image.name} has no sha256; put it into images/{image.name}/image.yaml "
                f"as disk.sha256, or pin what comes with `xc lock {image.name}`"
            )
            continue
        yield f"image:{image.name}", partial(_get_disk, of_disk, project)


def _get_disk(request: disk.DiskRequest, project: Project) -> None:
    disk.get(request, request.sha256, project.site)


def _is_open(project: Project, each: Artifact) -> bool:
    """Whether an artifact has nothing but sources without a version, and no file is there."""
    lock = project.site.lock
    return all(
        (
            source.go
            and not (source.go.version or source.go.directory)
            and not lockfile.of(lock, "artifacts", origins.pin_name(each, source))
        )
        or (source.file and each.sha256 is None)
        for source in each.sources
    )


def _lists(project: Project, cluster: list[str]) -> list[str]:
    if project.words.verb is None:  # the tasks are only listed, or one is built
        return []
    return [f"suite:{suite}" for suite in suites(project, inputs.overlays(project).values())]


DOES: Does = {"lock": _lock, "fetch": _fetch}
AFTER: After = {"lock": _lists, "fetch": _lists}
