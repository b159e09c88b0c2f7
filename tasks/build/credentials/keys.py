"""The secret of a cluster in its file, and pairs of certificate and key, as values."""

import datetime
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.base import files

YEARS = 10  # that certificates are good for
BEFORE = 1  # years before now that they begin: clocks of guests may be behind
LEAST_LEFT = 1  # years that they must be good for when they are packed


@dataclass(frozen=True)
class Secret:
    """What all keys of a cluster are derived from."""

    value: bytes
    year: int  # certificates are good from its first day


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


def secret(path: Path) -> Secret:
    """The secret in a file; made when there is none, or when what it gives would soon expire."""
    now = datetime.datetime.now(datetime.UTC).year
    saved = files.read_json(path)
    if not saved or int(saved["year"]) + YEARS <= now + LEAST_LEFT:
        saved = {"secret": secrets.token_hex(32), "year": now - BEFORE}
        put(path, saved)
    return Secret(bytes.fromhex(saved["secret"]), int(saved["year"]))


def put(path: Path, saved: Mapping[str, object]) -> None:
    """Write the file of a secret, as `files.read_json` gives it; only its owner can read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write_private(path, json.dumps(dict(saved), sort_keys=True) + "\n")
