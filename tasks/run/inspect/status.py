"""a running cluster ──status──> what runs, for people and for programs"""

import json
import sys
from typing import Any

from tasks.base import files, progress
from tasks.base.paths import Workspace
from tasks.definitions.settings import role_of
from tasks.engine import kit
from tasks.project.project import Does, Project
from tasks.run.net.protocol import Ports
from tasks.run.running.cluster import backend_of, running


def _status(project: Project) -> None:
    kind = project.words.options.get("o", "")
    if project.words.options.get("quiet"):
        kit.end_with(min(len(running(project.workspace.cluster(project.settings.name))), 255))
        return
    root = project.workspace.run
    names = sorted(path.parent.name for path in root.glob("*/cluster.json"))
    if not project.words.options.get("all"):
        names = [name for name in names if name == project.settings.name]
    clusters = [facts(project.workspace, name) for name in names]
    if kind == "json":
        one = clusters[0] if clusters else None
        json.dump(clusters if project.words.options.get("all") else one, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    if not clusters:
        progress.say(f"cluster '{project.settings.name}' is not running")
    for each in clusters:
        sys.stdout.write(
            f"{each['name']}: kernel {each['kernel']}, image {each['image']}, "
            f"accel {each['accel']}, net {each['net']}\n"
        )
        for name in each["dead"]:
            sys.stdout.write(f"  nets: the {name} has died: xc stop, or xc start\n")
        for one in each["nodes"]:
            sys.stdout.write("  {name}  {role:<7} {state:<5} ssh {host}:{ssh}  pid {pid}\n".format_map(one))


def facts(workspace: Workspace, name: str) -> dict[str, Any]:
    """What a running cluster is and which of its nodes live, as `-o json` tells it."""
    directory = workspace.cluster(name)
    state = files.read_json(directory.state)
    alive = running(directory)
    numbers = sorted(int(folder.name[3:]) for folder in directory.root.glob("vm-*"))
    backend = backend_of(directory)
    at = {number: backend.ssh(directory, number, Ports(**state["ports"])) for number in numbers}
    nodes = [
        {
            "name": f"vm-{number:03d}",
            "number": number,
            "role": role_of(number),
            "pid": alive.get(number),
            "state": "alive" if number in alive else "dead",
            "host": at[number][0],
            "ssh": at[number][1],
        }
        for number in numbers
    ]
    chosen = state["settings"]
    return {
        "name": name,
        "kernel": chosen["kernel"],
        "image": chosen["image"],
        "accel": state["accel"],
        "net": chosen["net"],
        "dead": [each for each, pid in backend.processes(directory).items() if pid is None],
        "started": state["started"],
        "nodes": nodes,
    }


DOES: Does = {"status": _status}
