"""~/.ssh/id_*.pub ──> the user's public keys, one a line, and a warning for each file that has none

Files there may be anything: what cannot be a key is left out, so that a guest never gets what its ssh server
would stumble over.
"""

import base64
import binascii
import os
import stat
import struct
from pathlib import Path

from tasks.base import progress
from tasks.base.errors import UserError

LARGEST = 16 << 10  # bytes of a file
LONGEST = 4000  # characters of a line that dropbear reads
CERTIFICATE = "-cert-v01@openssh.com"


def read(folder: Path) -> list[str]:
    """The keys of all files `id_*.pub` in `folder`, without doubles; a warning for each that has none."""
    keys: list[str] = []
    try:
        names = sorted(
            name for name in os.listdir(folder) if name.startswith("id_") and name.endswith(".pub")
        )
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            progress.say(f"warning: {folder}: {error.strerror}: no key in it can log in to nodes")
        return []
    for name in names:
        try:
            keys += of_file(folder / name)
        except UserError as error:
            progress.say(f"warning: {error.args[0]}: it is left out, nobody can log in to nodes with it")
    return list(dict.fromkeys(keys))


def of_file(path: Path) -> list[str]:
    """The public keys in a file, without those of certificates. UserError says why it has none."""
    try:
        text = _content(path).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no public key: it is not UTF-8") from error
    if "PRIVATE KEY" in text:
        raise UserError(f"{path} is a private key, not a public one")
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    keys = [_key(line) for line in lines]
    if not lines or keys.count(None) == len(keys):
        raise UserError(f"{path} is empty" if not lines else f"{path} is no public key")
    if None in keys:
        progress.say(f"warning: {path} has lines that are no public keys; they are left out")
    return [key for key in keys if key]


def _content(path: Path) -> bytes:
    """All of a file; what is none is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UserError(f"{path} is no file")
        content = file.read(LARGEST)
    if len(content) == LARGEST:
        raise UserError(f"{path} is no public key: it is larger than {LARGEST >> 10} KiB")
    return content


def _key(line: str) -> str | None:
    """A line as it is given to guests, "" for a certificate; None when it is no key."""
    kind, _, rest = line.partition(" ")
    blob, _, comment = rest.strip().partition(" ")
    try:
        content = base64.b64decode(blob, validate=True)
        (length,) = struct.unpack_from(">I", content)
    except (binascii.Error, ValueError, struct.error):
        return None
    if not kind or content[4 : 4 + length] != kind.encode() or len(content) <= 4 + length:
        return None
    if kind.endswith(CERTIFICATE):
        return ""
    named = f"{kind} {blob} {comment}" if comment.isascii() and comment.isprintable() else f"{kind} {blob}"
    return (named if len(named) <= LONGEST else f"{kind} {blob}").strip() if len(blob) < LONGEST else None
