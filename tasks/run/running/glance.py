"""A running cluster at a glance: the ordinary case, read without the models of settings and definitions.

To load those takes longer than `status` may. So files are read here by hand, and where anything is not as
usual (damaged, of another version, a net that is not looked at here, something besides) the answer is Unsure:
then the models are loaded, and find out what it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from tasks.base.node_names import node_name, number_in
from tasks.definitions import setting_list

# mypy knows this name; at run time `typing` would take longer than the glance.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1  # of the files
HOST = "127.0.0.1"
MOST = 1 << 20  # bytes of an environment to look at
CLUSTER = {"settings": dict, "ports": dict, "accel": str, "made_of": dict, "started": int}
NODE = {"pid": int, "start": int, "number": int, "node": dict, "image": str}
# What a node.json says of the node itself; tests hold it and the model together.
SELF = {
    "number": int,
    "role": str,
    "mem": int,
    "smp": int,
    "nets": list,
    "mtu": int,
    "append": str,
    "kind": str,
}
FILES = {"held", "net", "cluster.json", "dns", "ready.json"}  # in a cluster's directory, besides nodes


class Unsure(Exception):
    """It takes more than a glance."""


@dataclass(frozen=True, eq=False, repr=False)
class NodeView:
    """A node: its process, None when that has ended, and where its ssh server is reached."""

    number: int
    pid: int | None
    kind: str
    host: str
    ssh: int

    @property
    def name(self) -> str:
        """Its hostname."""
        return node_name(self.number)


@dataclass(frozen=True, eq=False, repr=False)
class ClusterView:
    """A cluster as it was started, and its nodes by number."""

    name: str
    kernel: str
    image: str
    accel: str
    net: str
    started: int
    dead: tuple[str, ...]  # processes of the nets that have ended
    nodes: tuple[NodeView, ...]


def look(run: str, name: str) -> ClusterView | None:
    """The cluster `name` below the directory `run`; None when nothing of it is there. Raises Unsure."""
    root = os.path.join(run, name)
    if not os.path.isdir(root):
        if os.path.lexists(root) or _has_processes(root):
            raise Unsure
        return None
    record = _record(os.path.join(root, "cluster.json"), CLUSTER)
    settings, ports = record["settings"], record["ports"]
    _check_settings(settings)
    if settings["net"] not in NETS or not isinstance(ports.get("ssh"), int):
        raise Unsure
    if any(entry not in FILES and not number_in(entry) for entry in os.listdir(root)):
        raise Unsure
    records = {number: _node(f"{root}/{node_name(number)}/node.json") for number in numbers(root)}
    nodes = tuple(
        NodeView(number, _alive(each), each["node"]["kind"], HOST, ports["ssh"] + number)
        for number, each in records.items()
    )
    facts = (settings["kernel"], settings["image"], record["accel"], settings["net"], record["started"])
    return ClusterView(name, *facts, NETS[settings["net"]](root), nodes)


def numbers(root: str) -> list[int]:
    """The nodes of a cluster; none where there is no such directory."""
    entries = os.listdir(root) if os.path.isdir(root) else []
    return sorted(number for entry in entries if (number := number_in(entry)))


def _node(path: str) -> dict[str, Any]:
    record = _record(path, NODE)
    own = record["node"]
    if own.keys() != SELF.keys() or any(type(own[key]) is not kind for key, kind in SELF.items()):
        raise Unsure
    return record


def _record(path: str, shape: dict[str, type]) -> dict[str, Any]:
    """The content of a file that has to have these keys."""
    import json

    try:
        content = json.loads(_text(path))
    except (OSError, ValueError, RecursionError):
        raise Unsure from None
    if not isinstance(content, dict) or content.get("format", FORMAT) != FORMAT:
        raise Unsure
    for key, kind in shape.items():
        if type(content.get(key)) is not kind:
            raise Unsure
    return content


def _text(path: str) -> bytes:
    """The content of a file; anything else that is there is Unsure, a pipe would never be read out."""
    info = os.stat(path)
    if info.st_mode & 0o170000 != 0o100000 or info.st_size > MOST:
        raise Unsure
    with open(path, "rb") as file:
        return file.read()


def _check_settings(settings: dict[str, Any]) -> None:
    """Every setting that there is, and of the right type."""
    kinds: dict[str, type] = {"per_node": dict, "mirrors": dict}
    for name, default, _, choices in setting_list.rows():
        kinds[name] = bool if choices == ("yes", "no") else int if default.isdigit() else str
    if settings.keys() != kinds.keys() or any(type(settings[name]) is not kinds[name] for name in kinds):
        raise Unsure


def _alive(record: dict[str, Any]) -> int | None:
    """The process of a file, if that very one still runs: one of its number that began at its time."""
    try:
        with open(f"/proc/{record.get('pid')}/stat") as file:
            text = file.read()
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return int(str(record["pid"])) if int(fields[18]) == record.get("start") and state != "Z" else None


def _dead_switches(root: str) -> tuple[str, ...]:
    folder = os.path.join(root, "net")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    states = [name for name in names if name.endswith(".json")]
    if any(not name.startswith("switch-") for name in states):
        raise Unsure
    records = {name: _record(os.path.join(folder, name), {"pid": int, "start": int}) for name in states}
    return tuple(name.removesuffix(".json") for name, record in records.items() if not _alive(record))


def _namespace(root: str) -> tuple[str, ...]:
    """A namespace of the cluster's own, in which nothing has died; all else is for the models."""
    place = _record(os.path.join(root, "net", "place.json"), {"own": bool, "holder": dict, "inner": dict})
    marks = [place[name] for name in ("holder", "inner", "uplink") if place.get(name) is not None]
    if not place["own"] or not all(type(mark) is dict and _alive(mark) for mark in marks):
        raise Unsure
    return ()


NETS = {"userspace": _dead_switches, "bridge": _namespace}


def _has_processes(root: str) -> bool:
    """Whether a process has this directory in its environment or on its command line."""
    marks = {os.fsencode(os.path.abspath(root)), os.fsencode(os.path.realpath(root))}
    others = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()]
    texts = (_bytes(f"/proc/{pid}/{name}") for pid in others for name in ("environ", "cmdline"))
    return any(mark in text for text in texts for mark in marks)


def _bytes(path: str) -> bytes:
    """A file of /proc; nothing when the process has gone, or is somebody else's."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(handle, MOST)
    except OSError:
        return b""
    finally:
        os.close(handle)
