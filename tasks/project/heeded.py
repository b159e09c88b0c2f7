"""What a verb that takes only the name minds of xcluster.yaml and the environment: settings it goes by."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tasks.base import files
from tasks.base.errors import DefinitionError
from tasks.definitions import settings
from tasks.project.command_line import Words

ROOT = Path(__file__).resolve().parents[2]
FILE = "xcluster.yaml"


def only(
    words: Words, file: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The content of xcluster.yaml and the environment, without settings that do not count for the verb."""
    heeds = words.heeds
    if heeds is None:
        return file, environ
    return (
        {key: value for key, value in file.items() if key.replace("-", "_") in heeds},
        {key: value for key, value in environ.items() if _counts(key, heeds)},
    )


def check(words: Words, environ: Mapping[str, str], unread: Collection[str], wrong: Collection[str]) -> None:
    """Raise DefinitionError for what is `wrong` with the settings that count.

    `unread` is why xcluster.yaml cannot be read, which matters if it may have what nothing else has.
    """
    heeds = words.heeds
    if heeds is None:
        return
    lacking = [name for name in heeds if unread and not _given(words, environ, name) and _may_set(name)]
    if lacking:
        names = ", ".join(f"'{name}'" for name in lacking)
        also = ", or say --name=NAME" if lacking == ["name"] else ""
        raise DefinitionError([*wrong, *unread], f"mend {FILE}, which may set {names}{also}")
    if wrong:
        raise DefinitionError(wrong)


def _counts(variable: str, heeds: Collection[str]) -> bool:
    name = variable.removeprefix("__")
    return name == variable or name in heeds or not settings.is_setting(name)


def _given(words: Words, environ: Mapping[str, str], name: str) -> bool:
    return name in words.settings or bool(environ.get(f"__{name}"))


def _may_set(name: str) -> bool:
    """Whether a damaged xcluster.yaml may have this setting in it."""
    try:
        content = files.text_bytes(ROOT / FILE)
    except OSError:
        return True
    return name.encode() in (content or b"").replace(b"\0", b"")  # in UTF-16 there is a 0 beside each letter
