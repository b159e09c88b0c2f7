"""The words, the environment, xcluster.yaml and the definitions -> all of it as it was read, unchecked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tasks.base.paths import Workspace
from tasks.definitions import iso_choice, settings, upstream_names
from tasks.project import catalogue, command_line, definition_files, given_images, heeded
from tasks.project.command_line import Needs
from tasks.project.heeded import ROOT


@dataclass(frozen=True)
class Sources:
    """All that was read, before any of it decides anything."""

    words: command_line.Words
    environ: Mapping[str, str]  # upstream's variables are our settings in it
    file: Mapping[str, Any]  # xcluster.yaml
    workspace: Workspace
    definitions: catalogue.Definitions
    packed: iso_choice.IsoChoice | None  # what the last mkcdrom was given
    problems: tuple[str, ...]

    def raw(self, name: str) -> str:
        """A setting as the words, the environment, xcluster.yaml or its default say it, unchecked."""
        return _raw(name, self.words, self.environ, self.file)


def read(words: command_line.Words, environ: Mapping[str, str]) -> Sources:
    """Step 1: the words, the environment, xcluster.yaml, and the definitions if the verb looks at them."""
    sources = asked(words, environ)
    if words.needs not in (Needs.DEFINITIONS, Needs.BUILDS):
        return sources
    ovlpath = environ.get("XCLUSTER_OVLPATH", "")
    definitions = definition_files.load(ROOT, ovlpath, sources.raw("k8sver"), environ)
    image = words.settings.get("image") or environ.get("__image", "")
    return replace(sources, definitions=given_images.added(definitions, image, sources.workspace))


def asked(words: command_line.Words, environ: Mapping[str, str]) -> Sources:
    """All but the definitions."""
    problems: list[str] = []
    file: Mapping[str, Any] = definition_files.read_yaml(ROOT / heeded.FILE, heeded.FILE, problems)
    file, environ = heeded.only(words, file, upstream_names.named_here(environ))
    workspace = Workspace.find(ROOT, environ)
    values = dict(words.settings)
    if "image" in values:
        values["image"] = upstream_names.image_of(values["image"], str(workspace.root))
    words, translated = replace(words, settings=values), upstream_names.translated(environ, str(ROOT))
    packed = iso_choice.recorded(workspace.choice(_raw("name", words, translated, file)))
    if not translated["__k8s_family"] and packed:  # SETUP of the last mkcdrom
        translated["__k8s_family"] = upstream_names.family(packed.env.get("SETUP", ""))
    return Sources(words, translated, file, workspace, catalogue.NONE, packed, tuple(problems))


def _raw(name: str, words: command_line.Words, environ: Mapping[str, str], file: Mapping[str, Any]) -> str:
    default = settings.Settings.model_fields[name].default
    return str(words.settings.get(name) or environ.get(f"__{name}") or file.get(name) or default)
