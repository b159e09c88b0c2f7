"""the secret of a cluster ──pki──> k8s/<cluster>/credentials.tar + .json, the last overlay on its ISO

Where nodes run Kubernetes. The secret is made when there is none. Nothing that is private is in the checkout,
in a release, or readable for others.
"""

import io
import tarfile
from pathlib import Path

from tasks.base import files
from tasks.base.paths import Workspace
from tasks.build.credentials import keys
from tasks.definitions import kubernetes
from tasks.definitions.roles import MOST
from tasks.engine import kit
from tasks.project.project import Project, source_date_epoch

TITLE = "kubernetes-credentials"  # of the tar on the ISO


def tasks(project: Project) -> kit.Tasks:
    """One task, where the nodes run Kubernetes."""
    settings, workspace = project.settings, project.workspace
    if not is_due(project):
        return
    from tasks.build.credentials import (  # a tenth of a second, for those who need it
        certificates,
        guest_files,
        kubeconfig,
    )

    tar = workspace.credentials(settings.name)
    nodes = kubernetes.FEWEST if settings.nvm <= kubernetes.FEWEST else MOST["vm"]
    details = [settings.prefix, nodes, settings.k8s_family == "ipv6"]
    recipe = kit.Recipe(
        write,
        [workspace, settings.name, details, source_date_epoch(project.environ)],
        code=(guest_files, keys, kubeconfig, kubernetes, certificates),
    )
    task = kit.task("pki", None, recipe, [tar, tar.with_suffix(".json"), workspace.secret(settings.name)])
    task["uptodate"].append(lambda task, values: _is_current(workspace, settings.name))
    yield task


def is_due(project: Project) -> bool:
    """Whether the ISO has them. That of a release has not: who unpacks it makes a secret of its own."""
    return project.settings.kubernetes and project.words.verb != "release"


def write(workspace: Workspace, name: str, details: tuple[str, int, bool], epoch: int) -> None:
    """Make the cluster's certificates, keys and kubeconfigs"""
    from tasks.build.credentials import guest_files

    prefix, nodes, ipv6 = details
    secret = keys.secret(workspace.secret(name))
    out = workspace.credentials(name)
    with files.atomic(out) as temp:
        temp.touch(mode=0o600)
        with tarfile.open(temp, "w", format=tarfile.GNU_FORMAT) as tar:
            for each in sorted(
                guest_files.layout(secret, prefix, nodes, ipv6=ipv6), key=lambda file: file.path
            ):
                entry = tarfile.TarInfo(each.path)
                entry.size, entry.mode, entry.mtime = len(each.data), each.mode, epoch
                tar.addfile(entry, io.BytesIO(each.data))
    files.write_stamp(out.with_suffix(".json"), {"tar": out}, secret=_mark(workspace.secret(name)))


def _is_current(workspace: Workspace, name: str) -> bool:
    """Whether the tar is made of the secret that is there: a checkpoint may have brought another one."""
    stamp = files.read_json(workspace.credentials(name).with_suffix(".json"))
    secret = workspace.secret(name)
    return secret.is_file() and stamp.get("secret") == _mark(secret)


def _mark(secret: Path) -> str:
    return files.sha256(secret)
