"""ovl/<a>.tar, ovl/<b>.tar ──mkcdrom a b──> iso/<cluster>.iso + .json

Words are overlays by name, directories (`.` too), or tar files, in the order they are unpacked. What was
chosen is recorded beside the ISO; later builds without words make the same choice again.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.base import files, progress
from tasks.base.errors import DefinitionError, UsageError, UserError
from tasks.base.paths import Workspace
from tasks.build.credentials import pki
from tasks.build.overlay import ovl
from tasks.definitions import iso_choice
from tasks.definitions.iso_choice import IsoChoice
from tasks.definitions.schema import Overlay
from tasks.engine import kit
from tasks.formats import iso9660, tree
from tasks.project import definition_files, replacements
from tasks.project.command_line import Takes
from tasks.project.project import Project, source_date_epoch

SCRIPT = "script"  # the name of --script on the ISO


@dataclass(frozen=True)
class IsoPart:
    """One tar on the ISO."""

    title: str  # its name on the ISO without number and ending
    overlay: Overlay | None  # or None for a tar file
    file: Path | None = None


def iso_parts(project: Project, chosen: IsoChoice) -> list[IsoPart]:
    """The tars of the ISO in order, what an overlay needs before it. Raises DefinitionError for bad words."""
    problems: list[str] = []
    parts: list[IsoPart] = []
    for word in chosen.words:
        part = _part(project, word, problems)
        if part and part.overlay:
            _with_needs(project, part.overlay, parts, ())
        elif part:
            parts.append(part)
    faults = [line for word in chosen.words for line in project.definitions.faults.get(("overlay", word), ())]
    if faults:
        raise DefinitionError(faults)
    problems += _wrong_options(chosen)
    if problems and project.words.row and project.words.verb == "mkcdrom":
        raise UsageError(f"{project.words.row.told.name}: {'; '.join(problems)}", project.words.usage)
    if problems:
        raise DefinitionError(problems)
    return parts


def parts_if_possible(project: Project, chosen: IsoChoice) -> tuple[list[IsoPart], list[str]]:
    """As `iso_parts`; for a verb or a task that can do without the ISO, with what is wrong in place of it."""
    words = project.words
    if words.verb in ("mkcdrom", "inject") or words.takes in (Takes.SETTINGS, Takes.RUNNING):
        return iso_parts(project, chosen), []
    try:
        return iso_parts(project, chosen), []
    except DefinitionError as error:
        return [], error.problems


def _wrong_options(chosen: IsoChoice) -> list[str]:
    """What is wrong with what stands on the ISO beside overlays."""
    problems = []
    if len(chosen.label) > iso9660.LABEL_LENGTH or not chosen.label.isascii():
        problems.append(f"--label: at most {iso9660.LABEL_LENGTH} ASCII characters, got '{chosen.label}'")
    if chosen.cidata and not Path(chosen.cidata).is_dir():
        problems.append(f"--cidata: there is no directory {chosen.cidata}")
    elif chosen.cidata:
        problems += [f"--cidata: {line}" for line in _wrong_files(chosen)]
    if chosen.script and not Path(chosen.script).is_file():
        problems.append(f"--script: {files.no_file(Path(chosen.script))}")
    elif chosen.script and not os.access(chosen.script, os.R_OK):
        problems.append(f"--script: {chosen.script} cannot be read")
    return problems


def _wrong_files(chosen: IsoChoice) -> list[str]:
    """What cannot go on the ISO of the directory for it."""
    folder = Path(chosen.cidata or "")
    try:
        paths = _files(folder)
    except PermissionError as error:
        return [f"{error.filename} cannot be read: {error.strerror}"]
    problems = [] if paths else [f"there is no file in {folder}"]
    for path in paths:
        if path.is_dir():
            problems.append(f"only files can go on the ISO, {path.name} is a directory")
        elif path.is_symlink() and not path.exists():
            problems.append(f"{path.name} is a link to {os.readlink(path)}, which is not there")
        elif not path.is_file():
            problems.append(f"only files can go on the ISO, {path.name} is none")
        elif not os.access(path, os.R_OK):
            problems.append(f"{path.name} cannot be read")
    if chosen.script and folder / SCRIPT in paths:
        problems.append(f"it has a file '{SCRIPT}', which is also what --script is called on the ISO")
    return problems


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def tasks(project: Project, chosen: IsoChoice, parts: list[IsoPart], wrong: Sequence[str] = ()) -> kit.Tasks:
    """The verb `mkcdrom` and, under the same name, the ISO as a part of every build.

    `wrong` is why there are no parts.
    """
    if wrong:
        yield kit.refusing("mkcdrom", None, wrong)
        return
    workspace, name = project.workspace, project.settings.name
    private = [workspace.credentials(name)] if pki.is_due(project) else []
    if not chosen.words and not chosen.cidata and not chosen.script and not private:
        yield kit.accepting(kit.always("mkcdrom", remove, [workspace, name, chosen]), project.words)
        return
    tars = [_tar(project, part, chosen) for part in parts]
    deps = [tar.with_suffix(".json") if part.overlay else tar for tar, part in zip(tars, parts, strict=True)]
    inputs = {"cidata": [files.tree_manifest(Path(chosen.cidata))]} if chosen.cidata else {}
    deps += _files(Path(chosen.cidata)) if chosen.cidata else []
    deps += [Path(chosen.script)] if chosen.script else []
    titled = list(zip([part.title for part in parts], map(str, tars), strict=True))
    titled += [(pki.TITLE, str(tar)) for tar in private]
    deps += [tar.with_suffix(".json") for tar in private]
    recipe = kit.Recipe(
        write,
        [workspace, name, chosen, titled, source_date_epoch(project.environ)],
        deps=deps,
        inputs=inputs,
        code=(iso9660, tree),
    )
    task = kit.task("mkcdrom", None, recipe, [workspace.iso(name), workspace.choice(name)])
    yield kit.accepting(task, project.words)


def write(
    workspace: Workspace, name: str, chosen: IsoChoice, tars: list[tuple[str, str]], epoch: int
) -> None:
    """Write the overlay ISO"""
    out, private = workspace.iso(name), workspace.credentials(name)
    content: dict[str, Path] = {}
    with contextlib.ExitStack() as stack:
        for number, (title, path) in enumerate(tars):
            plain = Path(path)
            if plain.parent not in (workspace.ovl("x").parent, private.parent):
                plain = stack.enter_context(files.scratch(out.with_name(f"{name}.{number}")))
                tree.adopt_tar(Path(path), plain, path, epoch, name=title)
            content[f"{number:02d}{title}.tar"] = plain
        if chosen.script:
            content[SCRIPT] = Path(chosen.script)
        for extra in _files(Path(chosen.cidata)) if chosen.cidata else ():
            if extra.name in content:
                raise UserError(f"two files of the ISO would be called {extra.name}", f"rename {extra}")
            content[extra.name] = extra
        with files.atomic(out) as temp:
            temp.touch(mode=0o600 if private in content.values() else 0o644)
            iso9660.write(temp, content, chosen.label, epoch)
    files.write_stamp(
        workspace.choice(name), {"iso": out}, choice=iso_choice.to_json(chosen), content=sorted(content)
    )
    progress.say("  " + " ".join(sorted(content)))


def remove(workspace: Workspace, name: str, chosen: IsoChoice) -> None:
    """Remove the ISO, and remember that none is wanted."""
    workspace.iso(name).unlink(missing_ok=True)
    files.write_json(workspace.choice(name), {"choice": iso_choice.to_json(chosen)})


def overlays_of(parts: list[IsoPart]) -> Mapping[str, Overlay]:
    """The overlays among the parts, by directory: also those that only the command line names."""
    return {str(part.overlay.directory): part.overlay for part in parts if part.overlay}


def _tar(project: Project, part: IsoPart, chosen: IsoChoice) -> Path:
    if part.overlay is None:
        assert part.file
        return part.file
    return project.workspace.ovl(ovl.recipe(project, part.overlay, chosen).key)


def _part(project: Project, word: str, problems: list[str]) -> IsoPart | None:
    overlays = project.definitions.overlays
    path = Path(word)
    if word in overlays:
        return IsoPart(word, overlays[word])
    if path.is_absolute() and path.is_dir():
        same = [each for each in project.definitions.with_own() if each.directory.resolve() == path]
        overlay = same[0] if same else definition_files.read_overlay(project.root, path, problems)
        if overlay is None and not problems:
            problems.append(replacements.not_overlay(path))
        problems += project.definitions.lacks(overlay) if overlay else []
        return IsoPart(path.name, overlay) if overlay and not problems else None
    if path.is_absolute() and path.is_file() and not os.access(path, os.R_OK):
        problems.append(f"{path} cannot be read")
    elif path.is_absolute() and path.is_file():
        return IsoPart(path.name.partition(".")[0], None, path)
    else:
        lacking = project.definitions.lacking("overlay", word)
        problems += [f"{word} does not exist"] if path.is_absolute() else lacking
    return None


def _with_needs(project: Project, overlay: Overlay, parts: list[IsoPart], above: tuple[str, ...]) -> None:
    """Add `overlay`, and before it what it needs; an alias stands for the overlay it names."""
    if overlay.name in above:
        raise DefinitionError(
            [f"overlay '{overlay.name}' needs itself: {' -> '.join((*above, overlay.name))}"]
        )
    meant = project.definitions.meant_by(overlay)
    for need in overlay.needs:
        _with_needs(project, meant[need], parts, (*above, overlay.name))
    real = meant[overlay.alias] if overlay.alias else overlay
    if real is not overlay:
        _with_needs(project, real, parts, (*above, overlay.name))
    elif all(part.overlay is None or part.overlay.directory != real.directory for part in parts):
        parts.append(IsoPart(overlay.name, overlay))
