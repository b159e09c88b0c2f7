"""In which form errors are told: decided before the words are read, because they may be wrong themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

from tasks.base import output, progress
from tasks.project.command_line import Reads, Verb


def choose(argv: Sequence[str], verbs: Mapping[str, Verb]) -> None:
    """Take over `-o json` and `--progress=json` from words that may be wrong otherwise."""
    words = _options(argv, verbs)
    output.expect_json(_asks(words, "o"))
    if _asks(words, "progress"):
        progress.configure({"progress": "json"})


def _options(argv: Sequence[str], verbs: Mapping[str, Verb]) -> list[str]:
    """The words that are read as options: not those of a command, of doit, or of a verb that reads none."""
    at = next((i for i, word in enumerate(argv) if word in verbs), None)
    if at is None:
        return _before_dashes(argv)
    front, behind = list(argv[:at]), argv[at + 1 :]
    reads = verbs[argv[at]].reads
    if reads is Reads.OPTIONS:
        return front + _before_dashes(behind)
    if reads is Reads.COMMAND:
        return front + list(takewhile(lambda word: word.startswith("-") and word != "--", behind))
    return front


def _before_dashes(words: Sequence[str]) -> list[str]:
    return list(takewhile(lambda word: word != "--", words))


def _asks(words: Sequence[str], name: str) -> bool:
    """Whether an option is among the words, with the value json."""
    for at, word in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else ""
        option, joint, value = word.lstrip("-").partition("=")
        if word.startswith("-") and option == name and (value if joint else following) == "json":
            return True
        if len(name) == 1 and word == f"-{name}json":
            return True
    return False
