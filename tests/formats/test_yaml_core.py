"""YAML as the core schema of YAML 1.2 reads it, and what is wrong with a file, by line."""

import math
from typing import Any

import pytest

from tasks.formats import yaml_core
from tasks.formats.yaml_core import NotYaml, Written


def value(text: str) -> Any:
    """What a key has that is written so."""
    return yaml_core.read(f"key: {text}".encode())["key"]


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30",
        "2024-02-30T25:61:00Z",
        "yes",
        "no",
        "on",
        "off",
        "Off",
        "y",
        "n",
        "1:30",
        "12:30:45",
        "1_000",
        "0b11",
        "0x",
        "0o8",
        "1.2.3",
        "a~",
        "nul",
        "True!",
        "1e",
        "=",
        ".",
        "+",
        "e3",
        "192.168.1.1",
        "0x1g",
        "9a",
        "!!str 5",
        "'5'",
        '"5"',
    ],
)
def test_texts(text: str) -> None:
    read = value(text)
    assert type(read) is str
    assert read == text.removeprefix("!!str ").strip("'\"")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0256", 256),
        ("0x10", 16),
        ("0o17", 15),
        ("-7", -7),
        ("+7", 7),
        ("1e3", 1000.0),
        ("1.30", 1.3),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ('!!int "7"', 7),
        ("6.02E+23", 6.02e23),
    ],
)
def test_numbers_and_truth(text: str, number: object) -> None:
    read = value(text)
    assert isinstance(read, Written) and read == text.removeprefix("!!int ").strip('"')
    assert read.value == number and type(read.value) is type(number)


def test_a_number_of_thousands_of_digits() -> None:
    assert value("9" * 5000).value == "9" * 5000  # more than Python converts


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL", "# nothing", "!!null ~"])
def test_nothing(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfa: \xc3\xa9\n",
        "\ufeffa: é".encode("utf-16-le"),
        "\ufeffa: é".encode("utf-16-be"),
        "a: é".encode("utf-32"),
        "a: é\r\n".encode(),
        "a: é\rb: 1"[:4].encode(),
        "%YAML 1.2\n---\na: é\n...\n".encode(),
    ],
)
def test_encodings_and_line_ends(data: bytes) -> None:
    assert yaml_core.read(data) == {"a": "é"}


def test_merge_keys() -> None:
    text = b"a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {x: 9, z: 4}]}\nd: {'<<': 1}\n"
    read = yaml_core.read(text)
    assert read["b"] == {"x": "1", "y": "3"} and read["c"] == {"x": "1", "y": "2", "z": "4"}
    assert read["d"] == {"<<": "1"}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "a: 1\nb: 2\na: 3\nb: 4",
            ["line 3: the key 'a' is there twice", "line 4: the key 'b' is there twice"],
        ),
        ("a: 1\n---\nb: 2", ["line 2: only one document"]),
        ("a: 1\n...\nb: 2", ["line 3: only one document"]),
        ("a:\n\tb: 1", ["line 2: indent with blanks, not with tabs"]),
        ("a: 1\nb: fd00:", ["line 2: a value with ': ' in it or ':' at its end has to be in quotes"]),
        ("a: @b", ["line 1: a value that begins with '@'"]),
        ("a: %b", ["line 1: a value that begins with '%'"]),
        ("a: *b", ["line 1: there is no anchor"]),
        ("a: &a [*a]", ["line 1: at most 50 levels"]),
        ("[" * 300 + "]" * 300, ["line 1: at most 50 levels"]),
        ("[" * 100_000, ["line 1: at most 50 levels"]),
        ("{a: " * 2000, ["line 1: at most 50 levels"]),
        ("".join(" " * n + "a:\n" for n in range(1500)), ["at most 50 levels"]),
        (BOMB, ["more than 100000 values"]),
        ("a: !!python/object/apply:os.system [ls]", ["line 1: the tag '!!python/object/apply:os.system'"]),
        (
            "a: !!binary aGk=\nb: !!set {x}\nc: !own 1\nd: !!timestamp 2024-01-01\ne: !!omap []",
            [
                "line 1: the tag '!!binary'",
                "line 2: the tag '!!set'",
                "line 3: the tag '!own'",
                "line 4",
                "line 5",
            ],
        ),
        ("a: !!int x\nb: !!bool yes", ["line 1: 'x' is no int", "line 2: 'yes' is no bool"]),
        ("? [a]\n: 1", ["line 1: a key must be a word"]),
        ("? {a: 1}\n: 1", ["line 1: a key must be a word"]),
        ("a: {<<: 1}", ["line 1: '<<' takes a mapping"]),
        ("a: 1\nb: \0", ["line 2: the character 0x00"]),
        ("a: \x1b", ["line 1: the character 0x1b"]),
        ('a: "x\\0y"', ["line 1: a text cannot contain the character NUL"]),
        ('a: "\\ud800"', ["line 1: "]),
        ('a: "b', ["line 1: a quote"]),
        ("a: [1", ["line "]),
    ],
)
def test_mistakes(text: str, says: list[str]) -> None:
    with pytest.raises(NotYaml) as caught:
        yaml_core.read(text.encode())
    problems = caught.value.problems
    assert len(problems) == len(says), problems
    assert [say for say, problem in zip(says, problems, strict=True) if say not in problem] == [], problems


@pytest.mark.parametrize("data", [b"a: 1\nb: \xe9\n", b"\xff\xfea", b"\x80", "a: b".encode("utf-16-le")])
def test_what_is_no_text(data: bytes) -> None:
    with pytest.raises(NotYaml, match=r"^line \d+: "):
        yaml_core.read(data)
