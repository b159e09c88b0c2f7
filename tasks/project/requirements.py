"""What a run needs of the definitions -> why it cannot have that.

Others stop nobody, whatever is wrong with them.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from tasks.base.errors import nearest
from tasks.definitions import image_chain, setting_forms, setting_layers, settings
from tasks.project import catalogue, definition_files, heeded
from tasks.project.command_line import Takes
from tasks.project.reading import Sources
from tasks.topology import choice
from tasks.topology.envsettings import FILE as ENVSETTINGS

# What upstream's file Envsettings of a topology sets; of these, what says which nets and nodes there are.
_SETS = re.compile(r"__(nets(_vm|_router|_tester|\d+)|(mem|smp)\d+|nvm|nrouters|ntesters)\b")
_SAYS = re.compile(r"__(nets(_vm|_router|_tester|\d+)|(mem|smp)\d+)")


def starts(sources: Sources) -> bool:
    """Whether the verb is for a cluster with all its settings."""
    return sources.words.takes in (Takes.SETTINGS, Takes.RUNNING)


def topology(sources: Sources) -> choice.Named:
    """The topology of this run."""
    packed = sources.packed
    of_iso = packed.env if packed and sources.words.verb != "mkcdrom" else {}
    named = choice.named(sources.words.settings, sources.environ, sources.file, of_iso)
    if named.name in sources.definitions.topologies or starts(sources):
        return named
    return choice.Named(setting_forms.PLAIN_TOPOLOGY)  # an overlay's script may know it


def of_topology(sources: Sources, named: choice.Named) -> list[str]:
    """Why there is no such topology; nothing for one that the environment tells all of."""
    if not named.place or sources.definitions is catalogue.NONE:
        return []
    problems = sources.definitions.lacking("topology", named.name)
    if not problems or ("topology", named.name) in sources.definitions.faults:
        return problems
    if is_of_environment(sources, named):
        return []
    file = envsettings(sources.definitions, named.name)
    if file:
        return [f"{named.place}: the topology '{named.name}' is what {file} sets: . {file}"]
    if file := hidden_envsettings(sources, named.name):
        first = sources.definitions.overlays[file.parent.parent.name].directory
        return [
            f"{named.place}: the topology '{named.name}' is what {file} sets, but that overlay is hidden by "
            f"{first}: put the directory {file.parents[2]} before it in XCLUSTER_OVLPATH, then: . {file}"
        ]
    own = f"; one of your own has a file {named.name}/{ENVSETTINGS} in an overlay"
    more = own if exported(sources.environ, _SAYS) else ""
    return [f"{named.place}: {problem.removesuffix('.') if more else problem}{more}" for problem in problems]


def is_of_environment(sources: Sources, named: choice.Named) -> bool:
    """Whether no YAML file has the topology, but upstream's variables say all of it."""
    if sources.definitions is catalogue.NONE or not named.place:
        return False
    if not sources.definitions.lacking("topology", named.name):
        return False
    if ("topology", named.name) in sources.definitions.faults:
        return False
    file = envsettings(sources.definitions, named.name)
    if file is None:
        # A name like that of a known one, which no file bears out, is a mistake in typing.
        mistyped = nearest(named.name, sources.definitions.topologies)
        is_meant = not mistyped or hidden_envsettings(sources, named.name)
        return bool(is_meant and exported(sources.environ, _SAYS))
    needed = _SETS.search(file.read_text(errors="replace"))
    return needed is None or bool(exported(sources.environ, _SETS))


def exported(environ: Mapping[str, str], names: "re.Pattern[str]" = _SETS) -> list[str]:
    """The variables that say which nets and nodes there are."""
    return sorted(name for name, value in environ.items() if value and names.fullmatch(name))


def envsettings(definitions: catalogue.Definitions, name: str) -> Path | None:
    """The file of an overlay that has a topology as upstream has it, as a directory of this name."""
    places = (overlay.directory / name / ENVSETTINGS for overlay in definitions.overlays.values())
    return next((place for place in places if place.is_file()), None)


def hidden_envsettings(sources: Sources, name: str) -> Path | None:
    """As `envsettings`, of an overlay in whose place another one of its name is used."""
    if "/" in name:
        return None
    definitions = sources.definitions
    ovlpath = sources.environ.get("XCLUSTER_OVLPATH", "")
    folders = definition_files.ovl_dirs(definitions.home.parent, ovlpath)
    places = (folder / own / name / ENVSETTINGS for folder in folders for own in definitions.overlays)
    return next((place for place in places if place.is_file()), None)


def note_of_topology(sources: Sources, named: choice.Named) -> str:
    """What is said of a topology of which only the environment tells."""
    names = ", ".join(exported(sources.environ)) or "nothing"
    return (
        f"note: the topology '{named.name}' ({named.place}) is not defined here, so its nets, nodes and "
        f"memory are what the environment says ({names}), and no path is checked"
    )


def wrong(sources: Sources, effective: settings.Settings) -> list[str]:
    """Settings that name a definition which does not exist, or cannot be used where it is needed."""
    definitions = sources.definitions
    chosen = [("kernel", effective.kernel), ("image", effective.image)]
    # Whoever has overlays of his own in XCLUSTER_OVLPATH may not have those of the default.
    overlays = effective.ovls if effective.ovls != settings.Settings.model_fields["ovls"].default else ""
    problems = []
    for kind, name in [*chosen, *(("overlay", word) for word in overlays.split())]:
        lacking = definitions.lacking(kind, name)
        if (kind, name) not in definitions.faults:
            problems += [_place(sources, "ovls" if kind == "overlay" else kind) + each for each in lacking]
        elif starts(sources) and kind != "overlay":  # an overlay is needed if it goes on the ISO
            problems += lacking
    if starts(sources):
        on_iso = sources.packed.words if sources.packed else effective.ovls.split()
        problems += [line for word in on_iso for line in definitions.faults.get(("overlay", word), ())]
    if sources.words.settings.get("k8sver") or sources.file.get("k8sver"):
        problems += [each for each in definitions.problems if each.startswith("k8sver: ")]
    return problems + _too_little_memory(effective, definitions)


def _place(sources: Sources, name: str) -> str:
    """Where a setting is set, as problems begin; "" for none of the places that people write."""
    places = (("--", sources.words.settings), ("__", sources.environ), (f"{heeded.FILE}: ", sources.file))
    keys = (name, f"__{name}", name)
    places_of = (
        f"{setting_layers.place(where, name, sources.environ)}: "
        for (where, values), key in zip(places, keys, strict=True)
        if values.get(key)
    )
    return next(places_of, "")


def _too_little_memory(effective: settings.Settings, definitions: catalogue.Definitions) -> list[str]:
    """Nodes in which the kernel cannot come up, or what the image has in it."""
    kernel = definitions.kernels.get(effective.kernel)
    least = kernel.mem if kernel else 0
    small = sorted({node.mem for node in effective.nodes() if node.kind == "vm" and node.mem < least})
    return [
        f"a node of {mem} MiB is too small for the kernel '{effective.kernel}', which needs {least} MiB: "
        "give more with --mem, or take another kernel"
        for mem in small
    ] + image_chain.too_small(definitions.images, effective)
