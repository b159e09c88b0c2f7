"""ovl/template/ ──mkovl NAME──> ovl/NAME/, a new overlay to fill in.

The template's name in a path and @NAME@ in a file become the name; in a template of upstream, which has no
ovl.yaml, the template's name in a file too.
"""

import os
import re
from pathlib import Path

from tasks.base import files, progress
from tasks.base.errors import DefinitionError, UsageError, UserError, unknown
from tasks.formats import inside
from tasks.project import definition_files
from tasks.project.project import Does, Project
from tasks.project.replacements import not_overlay


def _mkovl(project: Project) -> None:
    name = project.words.args[0]
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise UsageError(
            f"'{name}' cannot be the name of an overlay: use lower case letters, digits, '-', '_' and '.'"
        )
    template = project.words.options.get("template", "template")
    overlays = project.definitions.overlays
    if project.definitions.is_unknown("overlay", template):
        hollow = project.definitions.hollow.get(template)
        raise UsageError(not_overlay(hollow) if hollow else unknown("template", template, overlays))
    if template not in overlays:
        raise DefinitionError(project.definitions.lacking("overlay", template))
    ovldir = project.words.options.get("ovldir")
    folder = Path(ovldir) if ovldir else _searched(project)[0]
    target = folder.resolve() / name
    if target.exists():
        raise UserError(f"{target} already exists", "choose another name, or remove it")
    with files.atomic(target, directory=True) as temp:
        copy(overlays[template].directory, temp, name)
    own = [part for part in ("ovl.yaml", "tar", "default/") if (target / part).exists()]
    listed = " and ".join([", ".join(own[:-1]), own[-1]] if len(own) > 1 else own)
    word = name if folder.resolve() in map(Path.resolve, _searched(project)) else str(target)
    progress.say(f"{target}: edit its {listed}, then: xc mkcdrom {word}; xc start")


def _searched(project: Project) -> list[Path]:
    """The directories in which overlays are found by name."""
    return definition_files.ovl_dirs(project.root, project.environ.get("XCLUSTER_OVLPATH", ""))


def copy(template: Path, target: Path, name: str) -> None:
    """Copy a template's files with the name filled in; modes and links stay."""
    words = [b"@NAME@"] if (template / "ovl.yaml").is_file() else [b"@NAME@", template.name.encode()]
    with inside.Root(target) as root:
        for path in sorted(template.rglob("*")):
            new = str(path.relative_to(template)).replace(template.name, name)
            if path.is_symlink():
                root.symlink(new, os.readlink(path))
            elif path.is_dir():
                root.directory(new)
            else:
                content = path.read_bytes()
                for word in words:
                    content = content.replace(word, name.encode())
                with root.file(new, path.stat().st_mode & 0o777) as file:
                    file.write(content)


DOES: Does = {"mkovl": _mkovl}
