"""the user's environment ──> that of programs that we run, and that of the user's own scripts

A program gets what is named here and nothing else: no variable may change what comes out of a build, or lead
a program to other files than those that we name.
"""

import os
from collections.abc import Mapping

FIXED = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
SYSTEM = "/usr/sbin:/sbin"  # is searched for programs even if it is not in PATH
PATH = "/usr/local/bin:/usr/bin:/bin"  # where there is none
# Who the user is, how the network is reached, which certificates are trusted, and where windows open.
KEPT = (
    "HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLUMNS", "LINES",
    "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
    "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR",
    "SSH_AUTH_SOCK", "CCACHE_DIR", "TMPDIR",
)  # fmt: skip
# What leads common programs astray, so that a user's script gets it neither: how tar and compressors work,
# shells' files to read first, libraries that are loaded into everything, another repository for git.
MISLEADING = (
    "TAR_OPTIONS", "XZ_DEFAULTS", "XZ_OPT", "GZIP", "BZIP2", "BZIP", "ZSTD_CLEVEL", "ZSTD_NBTHREADS",
    "POSIXLY_CORRECT", "GREP_OPTIONS", "QUOTING_STYLE", "BLOCK_SIZE", "LS_BLOCK_SIZE", "TIME_STYLE",
    "BASH_ENV", "ENV", "CDPATH", "GLOBIGNORE", "SHELLOPTS", "BASHOPTS", "LD_PRELOAD", "LD_AUDIT",
    "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "LANGUAGE", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX",
)  # fmt: skip
MISLEADING_PREFIXES = ("BASH_FUNC_", "GIT_CONFIG")


def of_programs(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program: what is kept of ours, then `more`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ and _is_usable(name)}
    return {**kept, **FIXED, "PATH": f"{path()}:{SYSTEM}", **(more or {})}


def of_scripts(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a user's script: all of the user's, less what is misleading, then `more`."""
    kept = {name: value for name, value in os.environ.items() if not _misleads(name) and _is_usable(name)}
    return {**kept, "PATH": path(), "LC_ALL": FIXED["LC_ALL"], **(more or {})}


def path() -> str:
    """Where programs are looked for."""
    return os.environ.get("PATH") or PATH


def _is_usable(name: str) -> bool:
    """Not of a TMPDIR in which nobody can make a file: the usual place is better."""
    place = os.environ[name]
    return name != "TMPDIR" or (os.path.isabs(place) and os.access(place, os.W_OK | os.X_OK))


def _misleads(name: str) -> bool:
    return name in MISLEADING or name.startswith(MISLEADING_PREFIXES)
