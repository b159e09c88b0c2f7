"""Logins for container registries, from the files that podman, skopeo and docker keep them in."""

import base64
import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.base import progress


class Login(NamedTuple):
    """Who to be: a user with a password, or what a token server gave for good (docker's identitytoken)."""

    user: str
    password: str
    identity: str = ""


HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # of RFC 9110
_PARAMETER = re.compile(rf'\s*({TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))\s*(?:,|$)')
_SCHEME = re.compile(rf"[\s,]*({TOKEN})(?:\s+|,|$)")


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
        logins = _saved(place).get("auths")
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
        saved = _saved(place)
        helpers = saved.get("credHelpers")
        named = (helpers.get(registry) if isinstance(helpers, dict) else None) or saved.get("credsStore")
        if named:
            return f"docker-credential-{named} (in {place})"
    return None


def _saved(place: Path) -> dict[str, Any]:
    """The content of a file with logins. One that is damaged is left out, and that is said once."""
    try:
        value = json.loads(place.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _say_once(f"logins in {place} are left out: {error}")
        return {}
    if not isinstance(value, dict):
        _say_once(f"logins in {place} are left out: expected a JSON object")
        return {}
    return value


@functools.cache
def _say_once(text: str) -> None:
    progress.say(text)


def _keys(registry: str, repository: str) -> Iterator[str]:
    """registry/a/b, registry/a, registry, and what docker writes for its hub."""
    parts = [registry, *repository.split("/")]
    for length in range(len(parts), 0, -1):
        yield "/".join(parts[:length])
    yield from (f"https://{registry}", f"https://{registry}/", f"https://{registry}/v1/")
    yield from HUB_KEYS if registry == "docker.io" else ()


def _decoded(entry: Any) -> Login | None:
    if not isinstance(entry, dict):
        return None
    identity = str(entry.get("identitytoken") or "")
    if entry.get("username"):
        return Login(str(entry["username"]), str(entry.get("password", "")), identity)
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth") or "")).decode().partition(":")
    except ValueError:
        user = colon = password = ""
    return Login(user, password.rstrip("\0"), identity) if colon or identity else None


def challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """WWW-Authenticate headers, joined by commas: each scheme in lower case, with its parameters.

    RFC 9110, 11.6.1: commas separate both parameters and challenges, and may be in quotes.
    """
    listed: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(header):
        parameter, scheme = _PARAMETER.match(header, at), _SCHEME.match(header, at)
        if listed and parameter:
            name, quoted, plain = parameter.groups()
            listed[-1][1][name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            at = parameter.end()
        elif scheme:
            listed.append((scheme[1].lower(), {}))
            at = scheme.end()
        else:
            at += 1
    return listed
