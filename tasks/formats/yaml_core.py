"""bytes of a YAML file -> its values, with scalars as they were written; or all that is wrong, by line.

YAML is read with the core schema of YAML 1.2: `yes`, `off`, `1:30`, `1_000` and `2024-02-30` are texts, and
`0256` is 256. A number or a truth value is a `Written`, because only whoever asks for it knows whether 1.30
is a number or the name of a version.
"""

import codecs
import re
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import yaml

DEEPEST = 50  # levels of lists and mappings in each other; more is a mistake, or made to do harm
MOST = 100_000  # values of a file; aliases of aliases make millions of a few lines
CORE = "tag:yaml.org,2002:"
BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
TOO_DEEP = f"at most {DEEPEST} levels can be in each other"
FORMS = {
    "null": re.compile(r"(?:~|null|Null|NULL|)\Z"),
    "bool": re.compile(rf"(?:{'|'.join(BOOL)})\Z"),
    "int": re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    "float": re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}
# What the parser says -> the same for whoever wrote the file; {} is the character at that place.
REASONS = {
    "mapping values are not allowed": "a value with ': ' in it or ':' at its end has to be in quotes",
    "cannot start any token": "a value that begins with {} has to be in quotes",
    "found another document": "only one document can be in a file: remove what begins at '---'",
    "expected <document start>": "only one document can be in a file",
    "maximum nesting depth": TOO_DEEP,
    "undefined alias": "there is no anchor (&NAME) of this name before",
    "alphabetic or numeric character": "a value that begins with * or & has to be in quotes",
    "could not find expected ':'": "this line, or the one before, has no ': ' between a key and its value",
    "unexpected end of stream": "a quote that begins here, or before, never ends",
}
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
         codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip


class Written(str):
    """A scalar that is no text in the core schema, as it was written; `value` is what it is there."""

    @property
    def value(self) -> bool | int | float | str:
        """The truth value or the number; the text itself for a number with more digits than anybody needs."""
        if self in BOOL:
            return BOOL[self]
        try:
            if FORMS["int"].match(self):
                return int(self, {"0o": 8, "0x": 16}.get(self[:2], 10))
            return float(re.sub(r"\.(?=inf|nan)", "", self.lower()))
        except ValueError:
            return str(self)


class NotYaml(ValueError):
    """What is wrong with a file: sentences, which begin with the line where it is known."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The parser, with the tags of the core schema for plain scalars."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


for _kind, _form in FORMS.items():
    _Loader.add_implicit_resolver(f"{CORE}{_kind}", _form, None)


def read(data: bytes) -> Any:
    """None, a str, a Written, a list, or a dict with keys that are str or Written. Raises NotYaml."""
    text = _text(data)
    try:
        root = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise NotYaml([_sentence(error, text)]) from error
    except yaml.reader.ReaderError as error:
        raise NotYaml([str(error.reason)]) from error
    except RecursionError as error:
        raise NotYaml([TOO_DEEP]) from error
    if root is None:
        return None
    values = _Values()
    value = values.of(root, 0)
    if values.problems:
        raise NotYaml(list(dict.fromkeys(values.problems)))
    return value


def _text(data: bytes) -> str:
    """As YAML's rules say: UTF-8, or what a byte order mark says."""
    code = next((code for mark, code in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(code).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise NotYaml([f"line {line}: this is not {code}: {error.reason}"]) from error
    odd = UNPRINTABLE.search(text)
    if odd:
        line = text[: odd.start()].count("\n") + 1
        raise NotYaml(
            [f"line {line}: the character {ord(odd[0]):#04x} is in no text; is it another kind of file?"]
        )
    return text


def _sentence(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark or error.context_mark
    complaint = " ".join(str(part) for part in (error.context, error.problem) if part)
    if mark is None:
        return complaint
    line = (text.splitlines()[mark.line : mark.line + 1] or [""])[0]
    rest = line[mark.column :]
    reason = next((reason for words, reason in REASONS.items() if words in complaint), str(error.problem))
    if rest[:1] == "\t":
        reason = "indent with blanks, not with tabs"
    at = f", in '{shortened(line.strip())}'" if line.strip() else ""
    return f"line {mark.line + 1}: {reason.replace('{}', repr(rest[:1]))}{at}"


class _Values:
    """From nodes to values; what is wrong is collected."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._count = 0

    def of(self, node: yaml.Node, depth: int) -> Any:
        """The value of a node."""
        self._count += 1
        if self._count > MOST:
            return self._wrong(
                node, f"more than {MOST} values; aliases count as what they stand for", once=True
            )
        if depth > DEEPEST:
            return self._wrong(node, TOO_DEEP)
        kinds: dict[type, tuple[str, Callable[[Any, int], Any]]] = {
            yaml.ScalarNode: ("str null bool int float", self._scalar),
            yaml.SequenceNode: ("seq", self._list),
            yaml.MappingNode: ("map", self._mapping),
        }
        tags, build = kinds[type(node)]
        if node.tag not in [f"{CORE}{tag}" for tag in tags.split()]:
            return self._wrong(
                node, f"the tag '{node.tag.replace(CORE, '!!')}' cannot be used here: remove it"
            )
        return build(node, depth)

    def _wrong(self, node: yaml.Node, problem: str, once: bool = False) -> None:
        if not once or self._count == MOST + 1:
            self.problems.append(f"line {node.start_mark.line + 1}: {problem}")

    def _scalar(self, node: yaml.ScalarNode, depth: int) -> Any:
        kind = node.tag.removeprefix(CORE)
        if "\0" in node.value:
            return self._wrong(node, "a text cannot contain the character NUL")
        if kind == "str":
            return node.value
        if not FORMS[kind].match(node.value):
            return self._wrong(node, f"'{shortened(node.value)}' is no {kind}")
        return None if kind == "null" else Written(node.value)

    def _list(self, node: yaml.SequenceNode, depth: int) -> list[Any]:
        return [self.of(each, depth + 1) for each in node.value]

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[Hashable, Any]:
        own: dict[Hashable, Any] = {}
        merged: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(key, "a key must be a word")
            elif key.value == "<<" and not key.style:
                for each in self._merged(value, depth):
                    merged = {**each, **merged}
            elif key.value in own:
                self._wrong(key, f"the key '{shortened(key.value)}' is there twice")
            else:
                own[_key(key)] = self.of(value, depth + 1)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, depth: int) -> Iterator[dict[Hashable, Any]]:
        """The mappings that `<<` brings in, the one that counts most first."""
        for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.of(each, depth + 1)
            if isinstance(value, dict):
                yield value
            elif value is not None:
                self._wrong(each, "'<<' takes a mapping, or a list of mappings")


def _key(node: yaml.ScalarNode) -> str:
    return node.value if node.tag == f"{CORE}str" else Written(node.value)


def shortened(text: str, most: int = 60) -> str:
    """The beginning of a text, for messages."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
