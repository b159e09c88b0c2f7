"""The verb `kubeconfig`: a context for the running cluster in the user's kubeconfig, until it stops."""

import os
import sys
from pathlib import Path

from tasks.base import progress
from tasks.base.errors import UsageError, UserError
from tasks.base.paths import Workspace
from tasks.build.credentials import keys, kubeconfig
from tasks.project.project import Does, Project
from tasks.run.running import absent, ports
from tasks.run.running.cluster import Running


def access(workspace: Workspace, name: str) -> kubeconfig.ApiAccess:
    """How the administrator reaches the API of a running cluster. UserError where there is none."""
    running = Running.find(workspace, name)
    if running is None or not running.alive():
        raise absent.error(workspace.run, name, "xc k8s")
    at = ports.of_api(running)
    if at is None:
        raise UserError(
            f"cluster '{name}' runs without Kubernetes", f"start it with Kubernetes: xc k8s --name={name}"
        )
    from tasks.build.credentials import guest_files  # its library takes a tenth of a second to load

    secret = keys.secret(workspace.secret(name))
    return guest_files.admin(secret, name, f"https://{at[0]}:{at[1]}")


def wanted(workspace: Workspace, name: str) -> list[Path]:
    """The kubeconfigs that get a context of this cluster when it starts.

    They are those that have one of its predecessor, and one in the workspace that KUBECONFIG names, as it
    does after `. ./Envsettings.k8s`.
    """
    paths = kubeconfig.joined(workspace.cluster(name).kubeconfig)
    named = kubeconfig.default(os.environ)
    own = named.is_relative_to(os.path.realpath(workspace.root)) and named not in paths
    return [*paths, named] if own else paths


def join(workspace: Workspace, name: str, paths: list[Path]) -> None:
    """Put the running cluster into these files."""
    for path in paths:
        kubeconfig.join(workspace.cluster(name).kubeconfig, path, access(workspace, name))
        progress.say(f"context '{name}' is in {path}, until `xc stop`")


def _kubeconfig(project: Project) -> None:
    options, name = project.words.options, project.settings.name
    if "print" in options and "file" in options:
        raise UsageError("kubeconfig: --print and --file cannot be combined", project.words.usage)
    if "print" in options:
        sys.stdout.write(kubeconfig.text(access(project.workspace, name)))
        return
    option = options.get("file")
    path = Path(os.path.realpath(option)) if option else kubeconfig.default(os.environ)
    join(project.workspace, name, [path])


DOES: Does = {"kubeconfig": _kubeconfig}
