"""The options by which ssh and scp reach a node: with our key, knowing the node's host key."""

from __future__ import annotations


def options(user_key: str, known_hosts: str, alias: str) -> list[str]:
    """Options of ssh and scp; `alias` is the name under which the node's host key is known."""
    values = {
        "IdentityFile": user_key,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",  # one that hangs would be waited for
        "UserKnownHostsFile": known_hosts,
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


def background(command: list[str]) -> list[str]:
    """The command, so that ssh does not wait for its end."""
    import shlex

    return [f"sh -c {shlex.quote(' '.join(command))} >/dev/null 2>&1 &"]
