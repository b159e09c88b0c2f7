"""Which Debian archives the host's apt uses: what a suite is fetched from where no mirror is set."""

import re
from pathlib import Path

from tasks.base import proc
from tasks.base.errors import UserError


def host_sources(suite: str) -> list[str]:
    """Lines of a sources.list for `suite`, from the archives the host's apt uses; else debootstrap's default.

    Raises UserError when neither is there.
    """
    lines = (
        proc.output(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(ORIGIN)"])
        .decode()
        .splitlines()
    )
    archives = {release: site for site, release, *origin in map(str.split, lines) if origin == ["Debian"]}
    sites = [site for release, site in archives.items() if "-" not in release]
    security = [site for release, site in archives.items() if release.endswith("-security")]
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
