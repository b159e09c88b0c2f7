"""The words of mkcdrom or inject, what was recorded, or the settings ──> what the ISO of a run is made of."""

from pathlib import Path

from tasks.definitions import iso_choice
from tasks.definitions.iso_choice import IsoChoice
from tasks.definitions.setting_forms import PLAIN_TOPOLOGY
from tasks.definitions.settings import Settings
from tasks.project.project import Project


def choose(project: Project) -> IsoChoice:
    """What the ISO of this run is made of: mkcdrom's words, else what was recorded, else the settings."""
    verb = project.words.verb
    if verb == "mkcdrom":
        return _of_words(project)
    if verb == "inject":
        return _of_overlays_injected(project)
    recorded = iso_choice.recorded(project.workspace.choice(project.settings.name))
    if recorded is not None and not (verb is None and "SETUP" in project.environ):
        return recorded
    return _of_settings_that_exist(project) if verb is None else _of_settings(project)


def _of_words(project: Project) -> IsoChoice:
    """The words and options of mkcdrom; with any words also the overlays in XOVLS."""
    words, options = project.words.args, project.words.options
    extra = tuple(project.environ.get("XOVLS", "").split()) if words else ()
    return IsoChoice(
        tuple(dict.fromkeys(_absolute(word, project) for word in (*words, *extra))),
        _variables(project),
        options.get("label") or ("cidata" if options.get("cidata") else "xcluster"),
        _path(options.get("cidata")),
        _path(options.get("script")),
    )


def _of_overlays_injected(project: Project) -> IsoChoice:
    """The overlays that `inject` names, and nothing else: they go to machines that run."""
    return IsoChoice(tuple(_absolute(word, project) for word in project.words.args), _variables(project))


def _of_settings_that_exist(project: Project) -> IsoChoice:
    """The overlays of the settings that there are: a single task is built, of whatever there is."""
    names = (word for word in _usual(project) if not project.definitions.is_unknown("overlay", word))
    return IsoChoice(tuple(names), _variables(project))


def _of_settings(project: Project) -> IsoChoice:
    """The overlays of the settings. A release has nothing of its maker's environment."""
    env = {} if project.words.verb == "release" else _variables(project)
    return IsoChoice(_usual(project), env)


def _variables(project: Project) -> dict[str, str]:
    """What overlays see. Upstream's read the topology from TOPOLOGY, also where something else names it."""
    environ = iso_choice.variables(project.environ, project.settings.prefix)
    named = project.settings.topology
    return environ if environ.get("TOPOLOGY") or named == PLAIN_TOPOLOGY else {**environ, "TOPOLOGY": named}


def _usual(project: Project) -> tuple[str, ...]:
    """The overlays of the settings. The default means the checkout's own, whatever else has their names."""
    words = tuple(project.settings.ovls.split())
    if project.settings.ovls != Settings.model_fields["ovls"].default:
        return words
    own = {word: project.definitions.own.get(word) for word in words}
    named = project.definitions.overlays
    return tuple(str(o.directory) if o and o is not named.get(word) else word for word, o in own.items())


def _absolute(word: str, project: Project) -> str:
    """A word that is a path, as a path that means the same everywhere; a name stays a name."""
    overlay = project.definitions.overlays.get(word)
    if overlay:  # one of XCLUSTER_OVLPATH has to be found later without it
        return word if overlay.directory.parent == project.root / "ovl" else str(overlay.directory.resolve())
    return str(Path(word).resolve()) if "/" in word or word == "." or Path(word).exists() else word


def _path(word: str | None) -> str | None:
    return str(Path(word).resolve()) if word else None
