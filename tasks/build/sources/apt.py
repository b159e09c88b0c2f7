"""Debian packages without root: apt with a state of its own, verified by Debian's keys.

apt resolves, verifies and downloads; its lists, packages and idea of what is installed are ours. A package
that is to be left out counts as installed.
"""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from tasks.base import files, locks, odd_signs, proc, seals
from tasks.base.errors import CommandError, UserError
from tasks.base.progress import Bar
from tasks.build.sources import apt_host
from tasks.build.sources.packages import Archive as Archive
from tasks.build.sources.packages import Package as Package
from tasks.build.sources.packages import compare
from tasks.definitions import lockfile
from tasks.project.site import Site

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_NEVER = "999:999"  # the version of a package that is to be left out


def archive(site: Site, suite: str | None = None) -> Archive:
    """The archive of `suite` (default: the site's)."""
    name = suite or site.suite
    pins = lockfile.packages(site.lock, name)
    directory, timeout = site.workspace.apt(name), site.download_timeout
    return Archive(name, directory, site.mirror, site.offline, pins, timeout)


def has_lists(archive: Archive) -> bool:
    """Whether the package lists were fetched once."""
    return any((archive.directory / "state" / "lists").glob("*Release"))


def refresh(archive: Archive) -> None:
    """Fetch the package lists of the suite. Raises UserError when that is not possible."""
    if archive.offline:
        raise UserError(
            f"the package lists of {archive.suite} are not in the cache and --offline is set",
            f"run once with a network, or copy lists to {archive.directory / 'state/lists'}",
        )
    _prepare(archive)
    with locks.locked(archive.directory / "lock"):
        try:
            words = [*_options(archive), "-o", "APT::Update::Error-Mode=any", "update"]
            proc.run(["apt-get", *words], env=_environment(archive), wait=archive.wait())
        except CommandError as error:
            raise UserError(
                f"apt could not fetch the package lists of {archive.suite}: {_reason(error)}",
                "is there a network? `mirror` in xcluster.yaml (or __mirror=URL) sets the archive",
            ) from error
    if not has_lists(archive):
        raise odd_signs.blamed(archive.directory, "apt kept no package lists")


def lists_digest(archive: Archive) -> str:
    """What the lists say, in one hash: it changes when the archive did."""
    lists = sorted((archive.directory / "state" / "lists").glob("*Release"))
    return files.digest([files.sha256(path) for path in lists])


def fetch(
    archive: Archive,
    packages: Iterable[str],
    *,
    exclude: Iterable[str] = (),
    installed: Mapping[str, str] | None = None,
) -> list[Package]:
    """The .deb files of `packages` and their dependencies, downloaded and verified, sorted by name.

    `installed` (name -> version) is there already, and `exclude` counts as if it were: neither is in the
    result, nor what only they need.
    Raises UserError for a package that does not exist, and when a download fails.
    """
    names = list(packages)
    _prepare(archive)
    with locks.locked(archive.directory / "lock"):
        return _fetched(archive, _install(archive, names, exclude, installed), names)


def alone(archive: Archive, packages: Iterable[str]) -> list[Package]:
    """The .deb files of `packages` without what they depend on; otherwise as `fetch`."""
    names = list(packages)
    if not names:
        return []
    _prepare(archive)
    with locks.locked(archive.directory / "lock"):
        return _fetched(archive, [*_options(archive), "download", *names], names)


def planned(
    archive: Archive,
    packages: Iterable[str],
    *,
    exclude: Iterable[str] = (),
    installed: Mapping[str, str] | None = None,
    alone: bool = False,
) -> list[Package]:
    """What `fetch`, or with `alone` that, would give; nothing is downloaded, so paths need not exist."""
    names = list(packages)
    if not names:
        return []
    _prepare(archive)
    with locks.locked(archive.directory / "lock"):
        download = [*_options(archive), "download", *names]
        command = download if alone else _install(archive, names, exclude, installed)
        return [_described(archive, line) for line in _known_plan(archive, command, names)]


def _install(
    archive: Archive, names: list[str], exclude: Iterable[str], installed: Mapping[str, str] | None
) -> list[str]:
    status = _status(archive, {**dict.fromkeys(exclude, _NEVER), **(installed or {})})
    return [*_options(archive, status), "install", "-d", "--no-install-recommends", "-y", *names]


def facts(packages: Iterable[Package]) -> list[dict[str, object]]:
    """Packages for a stamp: without the path."""
    return [{k: v for k, v in asdict(p).items() if k != "path"} for p in packages]


def _prepare(archive: Archive) -> None:
    with files.explained(archive.directory):
        for part in ("state/lists/partial", "cache/archives/partial", "etc"):
            (archive.directory / part).mkdir(parents=True, exist_ok=True)
    sources = archive.directory / "etc" / "sources.list"
    if not sources.is_file() or archive.mirror:
        lines = (
            [f"{apt_host.transport(archive.mirror)} {archive.suite} main"]
            if archive.mirror
            else apt_host.host_sources(archive.suite)
        )
        signed = f"[signed-by={KEYRING}] " if KEYRING.is_file() else ""
        with files.atomic(sources) as temp:
            temp.write_text("".join(f"deb {signed}{line}\n" for line in lines))


def _environment(archive: Archive) -> dict[str, str]:
    return apt_host.environment(archive.directory / "etc" / "apt.conf")


def _options(archive: Archive, status: Path | None = None) -> list[str]:
    base = archive.directory
    values = {
        "Dir::State": base / "state",
        "Dir::State::status": status or base / "etc" / "status",
        "Dir::Cache": base / "cache",
        "Dir::Etc::SourceList": base / "etc" / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::Log": base / "cache",
        "APT::Sandbox::User": "",  # apt's own user may not enter our directory
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Install-Recommends": "false",
        "Acquire::ForceHash": "SHA256",  # in what --print-uris says
        "Acquire::Languages": "none",
        **archive.options,
        "Debug::NoLocking": "true",  # we hold a lock of our own
        "pkgCacheFile::Generate": "true",
    }
    if status is None:
        (base / "etc" / "status").touch()
    return [word for key, value in values.items() for word in ("-o", f"{key}={value}")]


def _status(archive: Archive, versions: Mapping[str, str]) -> Path:
    """A dpkg status file in which these packages are installed; one file for each set."""
    # "allowed", because a dependency on `perl:any` is met by nothing else.
    kind = "Status: install ok installed\nArchitecture: amd64\nMulti-Arch: allowed\n"
    path = archive.directory / "etc" / f"status-{files.digest([kind, versions])[:16]}"
    if not path.is_file():
        with files.atomic(path) as temp:
            temp.write_text(
                "\n".join(f"Package: {n}\n{kind}Version: {v}\n" for n, v in sorted(versions.items()))
            )
    return path


def _fetched(archive: Archive, command: list[str], names: list[str]) -> list[Package]:
    """Download what is not in the cache, and check all of it."""
    plan = _known_plan(archive, command, names)
    compare(archive, [_described(archive, line) for line in plan])
    missing = [line for line in plan if not _is_cached(archive, line)]
    if missing and archive.offline:
        raise UserError(
            "these packages are not in the cache, and --offline is set: "
            + " ".join(line[1] for line in missing),
            f"run once with a network, or put the .deb files into {_archives(archive)}",
        )
    if missing:
        _download(archive, command, sum(size for _, _, size, _ in missing))
    return sorted((_package(archive, line) for line in plan), key=lambda package: package.name)


def _is_cached(archive: Archive, line: tuple[str, str, int, str]) -> bool:
    """Whether the cache has this package. What is not what the signed list says is removed."""
    _, name, _, checksum = line
    path = _deb(archive, name)
    why = f"is not what the signed list of {archive.suite} says"
    return seals.has(path, checksum, why) if checksum else path.is_file()


def _known_plan(archive: Archive, command: list[str], names: list[str]) -> list[tuple[str, str, int, str]]:
    """What apt plans, noted for as long as the lists are the same: apt takes a second to think."""
    note = archive.directory / "etc" / f"plan-{files.digest([command, lists_digest(archive)])[:16]}.json"
    lines = files.read_json(note).get("plan")
    if lines is None:
        lines = _plan(archive, command, names)
        files.write_json(note, {"plan": lines})
    return [(url, name, size, checksum) for url, name, size, checksum in lines]


def _plan(archive: Archive, command: list[str], names: list[str]) -> list[tuple[str, str, int, str]]:
    """(URL, file name, size, sha256) of all packages; apt would not name those that it finds downloaded."""
    nowhere = ["-o", f"Dir::Cache::archives={archive.directory / 'etc'}"]
    try:
        text = proc.run(["apt-get", "--print-uris", *nowhere, *command], env=_environment(archive))
    except CommandError as error:
        lost = re.findall(r"Unable to locate package (\S+)", str(error))
        if lost:
            raise UserError(
                f"Debian {archive.suite} has no package {', '.join(lost)}",
                "check the name in the definition; `xc update` fetches newer package lists",
            ) from error
        raise UserError(
            f"apt cannot install {' '.join(names)} from {archive.suite}: {_reason(error)}"
        ) from error
    plan = []
    for line in text.splitlines():
        if line.startswith("'"):
            url, name, size, checksum = shlex.split(line)[:4]
            plan.append((url, name, int(size), checksum.partition(":")[2]))
    return plan


def _download(archive: Archive, command: list[str], total: int) -> None:
    """Let apt download what is missing."""
    before = _downloaded(archive)
    with Bar("packages", total) as bar:
        try:
            proc.run(
                ["apt-get", *command], cwd=_archives(archive), env=_environment(archive),
                on_line=lambda _: bar.to(_downloaded(archive) - before), wait=archive.wait(),
            )  # fmt: skip
        except CommandError as error:
            full = "free space" in str(error)
            raise UserError(
                f"apt could not download packages of {archive.suite}: {_reason(error)}",
                "free some space, or set XCLUSTER_WORKSPACE to another disk"
                if full
                else "is there a network? if the archive has moved on, `xc update` fetches newer lists",
            ) from error
        bar.to(total)


def _reason(error: CommandError) -> str:
    """What apt says is wrong, without the rest of its talk."""
    lines = [line.strip() for line in str(error).splitlines()]
    wrong = [line for line in lines if line.startswith(("E:", "Err:")) or "Depends:" in line]
    return "; ".join(dict.fromkeys(wrong)) or str(error)


def _downloaded(archive: Archive) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(_archives(archive)) if entry.is_file())


def _archives(archive: Archive) -> Path:
    return archive.directory / "cache" / "archives"


def _deb(archive: Archive, name: str) -> Path:
    return _archives(archive) / name


def _described(archive: Archive, line: tuple[str, str, int, str]) -> Package:
    _, name, size, checksum = line
    package, version, _ = name.removesuffix(".deb").split("_")
    return Package(package, version.replace("%3a", ":"), checksum, size, str(_deb(archive, name)))


def _package(archive: Archive, line: tuple[str, str, int, str]) -> Package:
    planned = _described(archive, line)
    if planned.sha256 and seals.is_whole(Path(planned.path), planned.sha256):
        return planned
    actual = files.sha256(Path(planned.path))
    if planned.sha256 and actual != planned.sha256:
        Path(planned.path).unlink()
        raise UserError(
            f"{line[1]} does not match the signed list of {archive.suite}", "run again to download it anew"
        )
    return replace(planned, sha256=actual)
