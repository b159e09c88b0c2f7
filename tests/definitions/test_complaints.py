"""What is said of wrong values: in words of our own, for every pattern and bound that definitions have."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tasks.definitions import settings
from tasks.definitions.complaints import FORMS, complaint
from tasks.definitions.schema import Image, Kernel, Overlay
from tasks.definitions.settings import Settings
from tasks.topology.schema import Topology

MODELS: tuple[type[BaseModel], ...] = (Settings, Kernel, Image, Overlay, Topology)


def patterns(value: Any) -> Iterator[str]:
    """Every pattern in a JSON schema."""
    if isinstance(value, dict):
        if isinstance(value.get("pattern"), str):
            yield value["pattern"]
        yield from value.get("patternProperties", {})
        for each in value.values():
            yield from patterns(each)
    elif isinstance(value, list):
        for each in value:
            yield from patterns(each)


def test_every_pattern_has_a_sentence_and_no_other_has() -> None:
    assert {one for model in MODELS for one in patterns(model.model_json_schema())} == set(FORMS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"nvm": "x"}, "--nvm: expected a whole number, got 'x'"),
        ({"nvm": "201"}, "--nvm: must be at most 200, got '201'"),
        ({"mem": "1"}, "--mem: must be at least 32, got '1'"),
        ({"keep": "maybe"}, "--keep: expected yes or no, got 'maybe'"),
        ({"accel": "xen"}, "--accel: expected 'auto', 'kvm' or 'tcg', got 'xen'"),
        ({"nets_vm": "a"}, "--nets-vm: expected nets with commas between, such as 0,1,2, got 'a'"),
        ({"name": "A"}, "--name: expected a name: "
         "a-z, 0-9 and -, a letter first, at most 31 characters, got 'A'"),
        ({"mem201": "abc"},
         "--mem201: expected MiB as a whole number, or a size such as 512M or 1.5G, got 'abc'"),
        ({"smp3": "2.0"}, "--smp3: expected a whole number, got '2.0'"),
        ({"mem201": "1"}, "--mem201: must be at least 32, got '1'"),
    ],
)  # fmt: skip
def test_settings(words: dict[str, str], says: str) -> None:
    assert settings.load(words, {}, {})[1] == [says]


def test_no_sentence_of_pydantics_is_left_for_wrong_types() -> None:
    """Each field is given a value of each wrong type; "input should be" is pydantic's way to say it."""
    sentences = set()
    for model in MODELS:
        for value in ("a b", 1.5, [1], {"x": 1}, True, None, -1):
            try:
                model.model_validate(dict.fromkeys(model.model_fields.keys() - {"directory"}, value))
            except ValidationError as error:
                sentences |= {(detail["type"], complaint(detail)) for detail in error.errors()}
    assert [each for each in sorted(sentences) if "nput should" in each[1]] == []
