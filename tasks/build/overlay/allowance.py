"""XC_OVL_ALLOW, as in `stderr dhcp:empty` ──> which tars may be used though something seems to be missing.

A word is `KIND`, for all overlays, or `OVERLAY:KIND`.
"""

import functools
from collections.abc import Callable, Iterable, Mapping

from tasks.base import progress
from tasks.base.errors import UsageError
from tasks.definitions.schema import Overlay

VARIABLE = "XC_OVL_ALLOW"
KINDS = ("stderr", "empty")


def of_overlay(overlay: Overlay) -> set[str]:
    """The kinds that the overlay itself allows, in its ovl.yaml."""
    return {*overlay.allow, *(("empty",) if overlay.allow_empty else ())}


def of_environment(overlay: Overlay, environ: Mapping[str, str]) -> set[str]:
    """The kinds that the variable allows to the overlay. Raises UsageError if a word of it is wrong."""
    refuse_wrong(environ)
    parts = [word.rpartition(":") for word in _words(environ)]
    return {kind for name, colon, kind in parts if not colon or name == overlay.name}


def is_wrong(environ: Mapping[str, str]) -> bool:
    """Whether the variable has a word that means nothing."""
    return bool(_wrong(environ))


def refuse_wrong(environ: Mapping[str, str]) -> None:
    """Raise UsageError if the variable has a word that means nothing."""
    wrong = _wrong(environ)
    if wrong:
        raise UsageError(
            f"{VARIABLE}: {', '.join(map(repr, wrong))} allows nothing: the kinds are {' and '.join(KINDS)}",
            f"write KIND for all overlays, OVERLAY:KIND for one: {VARIABLE}='dhcp:stderr lspci:empty'",
        )


def note_unknown(environ: Mapping[str, str], overlays: Callable[[], Iterable[Overlay]]) -> None:
    """Say once which names in the variable are of no overlay."""
    names = {word.rpartition(":")[0] for word in _words(environ) if ":" in word}
    unknown = sorted(names - {each.name for each in overlays()}) if names else []
    if unknown:
        _note(f"note: {VARIABLE} names overlays that are not there: {', '.join(unknown)}")


@functools.cache
def _note(text: str) -> None:
    progress.say(text)


def _wrong(environ: Mapping[str, str]) -> list[str]:
    parts = ((word, *word.rpartition(":")) for word in _words(environ))
    return [word for word, name, colon, kind in parts if kind not in KINDS or (colon and not name)]


def _words(environ: Mapping[str, str]) -> list[str]:
    return environ.get(VARIABLE, "").replace(",", " ").split()
