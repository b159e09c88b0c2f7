"""The man page, from the table of verbs and the settings: troff's man macros."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.cli import table, version
from tasks.definitions import setting_list
from tasks.project.command_line import COMMON, DRY_RUN, SHORT, Reads, Takes, Verb, dashes, usage

FILES = {
    "kernel/*.yaml, images/*/image.yaml, ovl/*/ovl.yaml": "the definitions of kernels, images and overlays",
    "xcluster.yaml": "settings of this checkout",
    "workspace/": "all that is built or running; $XCLUSTER_WORKSPACE is another place for it",
}
CODES = {"0": "done", "1": "failed", "2": "wrong words, settings or definitions", "130": "Ctrl-C"}


def page() -> str:
    """The whole page."""
    return "\n".join(line for line in _lines() if line) + "\n"


def _lines() -> Iterator[str]:
    yield f'.TH XC 1 "" "{version.NAME} {version.version()}" "User Commands"'
    yield from (
        ".SH NAME",
        "xc \\- build kernels, disk images and overlays; start clusters of virtual machines",
    )
    yield from (".SH SYNOPSIS", ".B xc", ".I VERB", "[OPTIONS] [WORDS]", ".br", ".B xc", ".I TASK\\fR...")
    yield ".SH DESCRIPTION"
    yield _text(
        "A verb acts; a task builds what is missing or changed. Data goes to stdout, and everything for"
    )
    yield _text("people to stderr.")
    yield from (".SH OPTIONS", _text("Every verb takes these."))
    yield from _entry("--name=CLUSTER", "which cluster; several run side by side [xcluster]")
    yield from _entry("--offline", "never use the network")
    letters = {name: f"-{letter}, " for letter, name in SHORT.items()}
    for option in COMMON:
        yield from _entry(letters.get(option.name, "") + option.dashed, option.help)
    yield from _entry(DRY_RUN.dashed, f"{DRY_RUN.help}; for verbs that build, start or stop, and for tasks")
    for title, verbs in table.GROUPS.items():
        yield f".SH {title.upper()}"
        for verb in verbs:
            yield from _verb(verb)
    yield from (
        ".SH SETTINGS",
        _text("Options of verbs that start or build; also __NAME in the environment."),
    )
    for name, default, text, choices in setting_list.rows():
        yield from _entry(f"{dashes(name)}={'|'.join(choices) or 'VALUE'}", f"{text} [{default}]")
    yield ".SH EXIT STATUS"
    for code, text in CODES.items():
        yield from _entry(code, text)
    yield ".SH FILES"
    for path, text in FILES.items():
        yield from _entry(path, text)


def _verb(verb: Verb) -> Iterator[str]:
    yield from _entry(usage(verb), verb.summary)
    if verb.options and verb.reads is not Reads.DOIT:
        yield ".RS"
        for option in verb.options:
            yield from _entry(option.dashed, option.help)
        yield ".RE"
    if verb.takes is not Takes.NAME:
        yield from (".IP", _text("Takes all settings as options."))
    yield from (".IP", ".EX", *(_text(example) for example in verb.examples), ".EE")


def _entry(term: str, text: str) -> tuple[str, str, str]:
    return ".TP", f".B {_text(term)}", _text(text)


def _text(text: str) -> str:
    """The text, escaped so that troff takes nothing in it as a command."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
