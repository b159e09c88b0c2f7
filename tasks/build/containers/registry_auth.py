"""Logins for container registries, from the files that podman, skopeo and docker keep them in."""

import base64
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.base import files

Login = tuple[str, str]  # user and password
HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")


def places(environ: Mapping[str, str]) -> list[Path]:
    """The files that are read, in this order."""
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    if environ.get("REGISTRY_AUTH_FILE"):
        return [Path(environ["REGISTRY_AUTH_FILE"])]
    runtime = environ.get("XDG_RUNTIME_DIR")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    return [
        *([Path(runtime) / "containers" / "auth.json"] if runtime else []),
        config / "containers" / "auth.json",
        docker / "config.json",
    ]


def login(registry: str, repository: str, environ: Mapping[str, str]) -> Login | None:
    """Who to be at `registry`: the most exact entry of the first file that has one."""
    for place in places(environ):
        logins = files.read_json(place).get("auths")
        if not isinstance(logins, dict):
            continue
        for key in _keys(registry, repository):
            entry = _decoded(logins.get(key))
            if entry:
                return entry
    return None


def helper(registry: str, environ: Mapping[str, str]) -> str | None:
    """The credential helper that a file names for `registry`; such a program is not asked."""
    for place in places(environ):
        saved = files.read_json(place)
        named = (saved.get("credHelpers") or {}).get(registry) or saved.get("credsStore")
        if named:
            return f"docker-credential-{named} (in {place})"
    return None


def _keys(registry: str, repository: str) -> Iterator[str]:
    """registry/a/b, registry/a, registry, and what docker writes for its hub."""
    parts = [registry, *repository.split("/")]
    for length in range(len(parts), 0, -1):
        yield "/".join(parts[:length])
    yield f"https://{registry}"
    yield from HUB_KEYS if registry == "docker.io" else ()


def _decoded(entry: Any) -> Login | None:
    if not isinstance(entry, dict):
        return None
    if entry.get("username"):
        return str(entry["username"]), str(entry.get("password", ""))
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth", ""))).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if colon else None


def challenge(header: str) -> tuple[str, dict[str, str]]:
    """A WWW-Authenticate header: the scheme in lower case, and its parameters (RFC 9110, 11.6.1)."""
    scheme, _, rest = header.partition(" ")
    parameters = re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', rest)
    return scheme.lower(), {key.lower(): quoted or plain for key, quoted, plain in parameters}
