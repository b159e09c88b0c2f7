"""The verb `kubeconfig`: a context for the running cluster in the user's kubeconfig, until it stops."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tasks import launch, ports
from tasks.lib import files, keys, kit, kubeconfig, progress, words
from tasks.lib.errors import UsageError, UserError
from tasks.lib.paths import Workspace
from tasks.lib.project import Project
from tasks.plan import Plan

VERBS: Mapping[str, words.Verb] = {
    "kubeconfig": words.Verb(
        "kubeconfig",
        "put the running cluster into your kubeconfig; `stop` takes it out again",
        options={
            "file=": "another kubeconfig [the first of KUBECONFIG, ~/.kube/config]",
            "print": "only print it",
        },
    ),
}


def tasks(project: Project) -> kit.Tasks:
    """The verb of this module."""
    yield kit.verb(VERBS["kubeconfig"], project.words, _kubeconfig, [project])


def access(workspace: Workspace, name: str) -> kubeconfig.Access:
    """How the administrator reaches the API of a running cluster. UserError where there is none."""
    directory = workspace.cluster(name)
    if not launch.running(directory):
        raise UserError(f"cluster '{name}' is not running", f"xc k8s --name={name}")
    at = ports.of_api(directory, launch.backend_of(directory))
    if at is None:
        raise UserError(f"cluster '{name}' runs without Kubernetes", f"xc k8s --name={name}")
    from tasks.lib import credentials  # its library takes a tenth of a second to load

    secret = keys.secret(workspace.secret(name))
    return credentials.admin(secret, name, f"https://{at[0]}:{at[1]}")


def joined(workspace: Workspace, name: str) -> list[Path]:
    """The kubeconfigs that have a context of this cluster now."""
    return [Path(path) for path in files.read_json(workspace.cluster(name).kubeconfig).get("files", {})]


def join(workspace: Workspace, name: str, paths: list[Path]) -> None:
    """Put the running cluster into these files."""
    for path in paths:
        kubeconfig.join(workspace.cluster(name).kubeconfig, path, access(workspace, name))
        progress.say(f"context '{name}' is in {path}, until `xc stop`")


def start(made: Plan) -> None:
    """Start a cluster; the files that had a context of the one that it replaces have one of it."""
    name = made.settings.name
    paths = joined(made.workspace, name)
    launch.start(made)
    if made.settings.kubernetes:
        join(made.workspace, name, paths)


def _kubeconfig(project: Project) -> None:
    options, name = project.words.options, project.settings.name
    if "print" in options and "file" in options:
        raise UsageError(
            "kubeconfig: --print and --file do not go together", words.usage(VERBS["kubeconfig"])
        )
    if "print" in options:
        sys.stdout.write(kubeconfig.text(access(project.workspace, name)))
        return
    said = options.get("file")
    path = Path(os.path.realpath(said)) if said else kubeconfig.default(os.environ)
    join(project.workspace, name, [path])
