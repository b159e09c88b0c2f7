"""Kubeconfigs: the text of one, and a context put into the user's file and taken out again."""

import base64
import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.base import files, progress, records
from tasks.base.errors import UserError
from tasks.base.records import Record
from tasks.build.credentials.keys import KeyPair
from tasks.formats import yaml_core
from tasks.formats.yaml_core import Written

PATIENCE = 10.0  # seconds that another writer may take
LISTS = ("clusters", "contexts", "users")
LARGEST = 16 << 20  # bytes of a file; one of a hundred clusters has some 1 MiB
EMPTY: Mapping[str, Any] = {"apiVersion": "v1", "kind": "Config", "preferences": {}}


class _Dumper(yaml.SafeDumper):
    """Writes a scalar of the user's file as it was written there: a token may be 0123, or a date."""


def _as_written(dumper: Any, text: Written) -> yaml.ScalarNode:
    return yaml.ScalarNode(dumper.resolve(yaml.ScalarNode, text, (True, False)), str(text))


_Dumper.add_representer(Written, _as_written)


@dataclass(frozen=True)
class ApiAccess:
    """How somebody reaches an API; cluster, user and context are all called `name`."""

    name: str
    server: str  # URL
    authority: bytes  # certificate, PEM
    own: KeyPair

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """What belongs into the three lists of a kubeconfig."""
        ca, crt, key = (
            base64.b64encode(pem).decode() for pem in (self.authority, self.own.certificate, self.own.key)
        )
        return {
            "clusters": {"cluster": {"certificate-authority-data": ca, "server": self.server}},
            "contexts": {"context": {"cluster": self.name, "user": self.name}},
            "users": {"user": {"client-certificate-data": crt, "client-key-data": key}},
        }


def text(access: ApiAccess) -> str:
    """A whole kubeconfig."""
    return _text(_merged({}, access))


def default(environ: Mapping[str, str]) -> Path:
    """The user's file: the first that KUBECONFIG names, else ~/.kube/config; where a link leads, that."""
    named = [part for part in environ.get("KUBECONFIG", "").split(":") if part]
    return Path(os.path.realpath(os.path.expanduser(named[0] if named else "~/.kube/config")))


class Joined(Record):
    """The kubeconfigs that have a context of a running cluster, each with its current context before that."""

    name: str
    authority: str
    files: Mapping[str, str]


def join(state: Path, path: Path, access: ApiAccess) -> None:
    """Put the context into a file, and note in `state` what has to be taken out of it again."""
    noted = records.intact(state, Joined)
    before = merge(path, access)
    paths = {str(path): before, **(noted.files if noted else {})}
    records.write(state, Joined(name=access.name, authority=access.authority.decode(), files=paths))


def joined(state: Path) -> list[Path]:
    """The files that have the context now."""
    noted = records.intact(state, Joined)
    return [Path(path) for path in noted.files] if noted else []


def leave(state: Path) -> None:
    """Take out what `join` noted; a file that cannot be written is only told of."""
    noted = records.intact(state, Joined)
    if noted is None:
        if state.exists():
            progress.say(f"warning: {state} is damaged: a context may stay in your kubeconfig")
        return
    for path, before in noted.files.items():
        try:
            remove(Path(path), noted.name, noted.authority.encode(), before)
        except UserError as error:
            progress.say(
                f"warning: the context '{noted.name}' could not be removed from the kubeconfig: {error}"
            )


def merge(path: Path, access: ApiAccess) -> str:
    """Put the context into the file, and make it the current one; what was current before is returned.

    UserError when the file cannot be read, or has a context of this name that leads elsewhere.
    """
    with _locked(path):
        content = _read(path)
        other = _entry(content, "clusters", access.name)
        if other is not None and not _is_ours(other, access.authority):
            raise UserError(
                f"{path} already has another cluster named '{access.name}'",
                "start this cluster with another --name, or use another file: --file=PATH",
            )
        before = str(content.get("current-context") or "")
        files.write_private(path, _text(_merged(content, access)))
    return "" if before == access.name else before


def remove(path: Path, name: str, authority: bytes, before: str = "") -> bool:
    """Take the context out of the file again, if it still leads to this cluster; whether it did.

    `before` becomes the current context, if this one is and that is still there.
    """
    if not path.is_file():
        return False
    with _locked(path):
        content = _read(path)
        if not _is_ours(_entry(content, "clusters", name) or {}, authority):
            return False
        for kind in LISTS:
            content[kind] = [each for each in content.get(kind) or [] if each.get("name") != name]
        if content.get("current-context") == name:
            there = any(each.get("name") == before for each in content["contexts"])
            content["current-context"] = before if there else ""
        files.write_private(path, _text(content))
    return True


def _text(content: dict[str, Any]) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False)


def _merged(content: Mapping[str, Any], access: ApiAccess) -> dict[str, Any]:
    merged = {**EMPTY, **content}
    for kind, entry in access.entries.items():
        others = [each for each in merged.get(kind) or [] if each.get("name") != access.name]
        merged[kind] = [*others, {"name": access.name, **entry}]
    return {**merged, "current-context": access.name}


def _entry(content: Mapping[str, Any], kind: str, name: str) -> dict[str, Any] | None:
    return next((each for each in content.get(kind) or [] if each.get("name") == name), None)


def _is_ours(entry: Mapping[str, Any], authority: bytes) -> bool:
    encoded = (entry.get("cluster") or {}).get("certificate-authority-data")
    return bool(encoded == base64.b64encode(authority).decode())


def _read(path: Path) -> dict[str, Any]:
    try:
        data = files.text_bytes(path, LARGEST)
        content = None if data is None else yaml_core.read(data)
    except (OSError, yaml_core.NotYaml) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be read: {reason}", "use another file: --file=PATH") from error
    wrong = not isinstance(content or {}, dict) or any(
        not isinstance((content or {}).get(kind) or [], list) for kind in LISTS
    )
    if wrong:
        raise UserError(f"{path} is not a kubeconfig", "use another file: --file=PATH")
    return dict(content or {})


def _takes(lock: Path) -> bool:
    """Make the lock; False when somebody has it."""
    with files.explained(lock):
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """kubectl's lock: a file beside it, made and removed. UserError when somebody keeps it."""
    with files.explained(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    until = time.monotonic() + PATIENCE
    while not _takes(lock):
        if time.monotonic() > until:
            raise UserError(
                f"{path} is locked by {lock}",
                f"if no other program is writing it, remove the lock: rm {lock}",
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
