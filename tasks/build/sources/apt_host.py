"""What we take from the host's apt: the archives, where no mirror is set, and how the network is reached."""

import re
from collections.abc import Iterable
from pathlib import Path

from tasks.base import files, proc
from tasks.base.errors import UsageError, UserError

# Of the host's apt.conf: proxies, and what https needs. All else would change what we get.
NETWORK = re.compile(
    r"^Acquire::(?:(?:http|https|ftp|tor|socks5h)(?:::[^: ]+)?::"
    r"(?:Proxy[^ ]*|CA\w+|Ssl\w+|Verify-\w+|Timeout|Pipeline-Depth|User-Agent)"
    r"|ForceIPv[46]|Send-URI-Encoded) ",
    re.IGNORECASE,
)

# What a suite can be fetched from; not cdrom:, which would ask for a disc.
MIRROR = re.compile(r"(?!cdrom:)[a-z][a-z0-9+.-]*:/[^\s\[\]]+", re.IGNORECASE)


def environment(config: Path) -> dict[str, str]:
    """The environment in which apt reads `config` instead of the host's apt.conf. The file is written."""
    lines = proc.output(["apt-config", "dump"]).decode(errors="replace").splitlines()
    nothing = [f'Dir::Etc::{name} "/dev/null";' for name in ("parts", "main")]
    text = "".join(f"{line}\n" for line in [*nothing, *filter(NETWORK.match, lines)])
    if not config.is_file() or config.read_text() != text:
        with files.atomic(config) as temp:
            temp.write_text(text)
    return {"APT_CONFIG": str(config)}


def transport(mirror: str) -> str:
    """A URL for a line of sources.list. Raises UsageError for what apt would not understand.

    What is on this host already (file:) is copied: apt would leave it where it is, and out of the cache.
    """
    if not MIRROR.fullmatch(mirror):
        raise UsageError(
            f"mirror: expected the URL of a Debian archive, got '{mirror}'",
            "such as http://mirror.example/debian, file:/srv/debian or mirror+file:/etc/apt/mirrors.txt",
        )
    return re.sub(r"^file:(//)?(?=/)", "copy:", mirror)


def archives(lines: Iterable[str]) -> dict[str, str]:
    """Debian's archives by release, from lines of site, release and origin; of several mirrors the first."""
    rows = [line.split() for line in lines]
    debian = [row[:2] for row in rows if row[2:] == ["Debian"] and MIRROR.fullmatch(row[0])]
    return {release: transport(site) for site, release in reversed(debian)}


def host_sources(suite: str) -> list[str]:
    """Lines of a sources.list for `suite`, from the archives the host's apt uses; else debootstrap's default.

    Raises UserError when neither is there.
    """
    lines = (
        proc.output(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(ORIGIN)"])
        .decode()
        .splitlines()
    )
    there = archives(lines)
    sites = [site for release, site in there.items() if "-" not in release]
    security = [site for release, site in there.items() if release.endswith("-security")]
    if sites:
        rolling = suite in ("sid", "unstable", "testing", "experimental")
        extra = (
            []
            if rolling
            else [(sites[0], f"{suite}-updates"), *((site, f"{suite}-security") for site in security[:1])]
        )
        return [f"{site} {release} main" for site, release in [(sites[0], suite), *extra]]
    script = Path("/usr/share/debootstrap/scripts/sid")
    named = re.search(r"^default_mirror (\S+)", script.read_text(), re.M) if script.is_file() else None
    if named:
        return [f"{named.group(1)} {suite} main"]
    raise UserError(
        "it is not known where to get Debian packages: the host's apt has no Debian archive",
        "set `mirror` in xcluster.yaml to its URL, or: apt-get install debootstrap debian-archive-keyring",
    )
