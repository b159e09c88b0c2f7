"""Words in artifacts: `${minor}` is from ovl/kubernetes/versions.yaml, `${KUBERNETESD}` from the environment.

A source with a word that has no value is left out. So a build directory, or an archive, is used only if it is
named.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.base.errors import unknown

FILE = Path("kubernetes", "versions.yaml")  # in a directory of overlays
_WORD = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def chosen(table: Mapping[str, Any], version: str, label: str, problems: list[str]) -> dict[str, str]:
    """The words of `version` ("": the first one) and their texts; words of other versions only are empty."""
    if not table:
        return {}
    name = version or next(iter(table))
    if name not in table:
        problems.append(f"k8sver: {unknown('version', name, table)} (they are in {label})")
        name = next(iter(table))
    wrong = [version for version, words in table.items() if not _plain(words)]
    problems += [f"{label}: {version}: expected lines of the form WORD: TEXT" for version in wrong]
    if wrong:
        return {}
    every = {word for words in table.values() for word in words}
    return {**dict.fromkeys(every, ""), **table[name], "kubernetes": name}


def _plain(words: Any) -> bool:
    return isinstance(words, dict) and all(isinstance(value, str) for value in words.values())


@dataclass(frozen=True)
class VersionWords:
    """What words in definitions stand for."""

    versions: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()  # with the versions, which matter where their words are used

    def applied(self, artifacts: Any, wrong: list[str], of_versions: list[str]) -> Any:
        """The list `artifacts` of a definition with its words replaced; unknown words go to `wrong`.

        What is wrong with the versions goes to `of_versions`, if a word of theirs is used.
        """
        if not isinstance(artifacts, list):
            return artifacts
        values = {**{name: text for name, text in self.environ.items() if name.isupper()}, **self.versions}
        words = {word for text in _texts(artifacts) for word in _WORD.findall(text)}
        of_version = sorted(word for word in words if not word.isupper())
        of_versions += self.problems if of_version else ()
        wrong += [unknown("word", word, self.versions) for word in of_version if word not in self.versions]
        return [_artifact(each, values) for each in artifacts]


NONE = VersionWords()


def _artifact(value: Any, values: Mapping[str, str]) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get("sources"), list):
        return _replaced(value, values)
    usable = [
        each
        for each in value["sources"]
        if all(values.get(word) for text in _texts(each) for word in _WORD.findall(text))
    ]
    return _replaced({**value, "sources": usable}, values)


def _replaced(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _WORD.sub(lambda match: values.get(match.group(1), ""), value)
    if isinstance(value, dict):
        return {key: _replaced(each, values) for key, each in value.items()}
    return [_replaced(each, values) for each in value] if isinstance(value, list) else value


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]
