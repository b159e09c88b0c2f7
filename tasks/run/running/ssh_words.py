"""The options by which ssh and scp reach a node: with our key, knowing the node's host key."""

from __future__ import annotations

from tasks.base.errors import UsageError

BREAKING = frozenset(" \"'\\#")  # what ends a word, or means something else, in an option of ssh


def options(user_key: str, known_hosts: str, alias: str) -> list[str]:
    """Options of ssh and scp; `alias` is the name under which the node's host key is known."""
    values = {
        "IdentityFile": _as_value(user_key),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",  # one that hangs would be waited for
        "UserKnownHostsFile": _as_value(known_hosts),
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": alias,
        "LogLevel": "ERROR",
        "ConnectTimeout": "10",
        "PasswordAuthentication": "no",
        "GSSAPIAuthentication": "no",
        # The first choice of newer clients, a post-quantum exchange, takes emulated guests a second.
        "KexAlgorithms": "curve25519-sha256",
        "UpdateHostKeys": "no",
    }
    return ["-F", "/dev/null", *(word for key, value in values.items() for word in ("-o", f"{key}={value}"))]


def _as_value(path: str) -> str:
    """A path as ssh reads it: %% is a %, and what is in quotes is one word."""
    text = path.replace("%", "%%")
    if not set(text) & BREAKING:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def background(command: list[str]) -> list[str]:
    """The command, so that ssh does not wait for its end. UsageError where there is none."""
    import shlex

    if not command:
        raise UsageError("rsh --bg: a command is needed", "for a shell: xc rsh N")

    return [f"sh -c {shlex.quote(' '.join(command))} >/dev/null 2>&1 &"]
