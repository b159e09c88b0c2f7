"""What pydantic finds wrong with a value, as a sentence for whoever wrote it."""

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tasks.base.errors import nearest, unknown
from tasks.formats import yaml_core

# What a text must look like, by the pattern that it has to match.
FORMS = {
    r"^[0-9a-f]{64}$": "expected a sha256: 64 hex digits in lower case",
    r"^[A-Za-z0-9][A-Za-z0-9._+-]*$": "expected a name: letters, digits and . _ + -, a letter or digit first",
    r"^[A-Za-z0-9][A-Za-z0-9._~/-]*$": "expected the path of a Go module, such as github.com/coredns/coredns",
    r"^v[0-9][A-Za-z0-9.+-]*$": "expected the version of a Go module, such as v1.10.1",
    r"^[A-Za-z0-9._][A-Za-z0-9._/-]*$": "expected a directory, such as cmd/tool",
    r"^[0-9a-fA-F]+:[0-9a-fA-F:]*$": "expected the beginning of an IPv6 address, such as fd00:",
    r"^(\s*[^\s=]+=(https?://)?[^\s=/:][^\s=]*)*\s*$": "expected PREFIX=[http://]HOST[/PATH] ...",
    r"^[a-z][a-z0-9-]{0,30}$": "expected a name: a-z, 0-9 and -, a letter first, at most 31 characters",
    r"^(https?|file)://[^ ]*/$": "expected a URL that ends with /",
    r"^([A-Z0-9_]+|own)$": "expected an option of a kernel, such as NET_VRF, or 'own'",
    r"^[0-7]{3,4}$": "expected a mode, such as 755",
    r"^/dev/vda[0-9]*$": "expected a device, such as /dev/vda or /dev/vda1",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "expected the name of a variable: letters, digits and _, no digit first",
    r"^[a-z][a-z0-9]{0,14}$": "expected a name: a-z and 0-9, a letter first, at most 15 characters",
}
KINDS = {
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_parsing": "expected yes or no",
    "bool_type": "expected yes or no",
    "string_type": "expected a text",
    "tuple_type": "expected a list",
    "dict_type": "expected keys and values",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}


def complaint(detail: Any) -> str:
    """The sentence for one of `ValidationError.errors()`, without its place and without the value."""
    context = detail.get("ctx", {})
    if detail["type"] == "string_pattern_mismatch" and context["pattern"] in FORMS:
        return FORMS[context["pattern"]]
    if detail["type"] == "literal_error":
        near = nearest(str(detail["input"]), re.findall(r"'([^']*)'", context["expected"]))[:1]
        return f"expected {context['expected']}" + (f" (did you mean '{near[0]}'?)" if near else "")
    if detail["type"] in KINDS:
        return KINDS[detail["type"]].format(**context)
    message = str(detail["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def causes(error: ValidationError) -> list[Any]:
    """The errors less those that only follow: a list counts as empty when all its elements are wrong."""
    details = error.errors()
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(place[:-1][: len(detail["loc"])] == detail["loc"] for place in places)
    ]


def sentence(model: type[BaseModel], detail: Any) -> str:
    """What is wrong with a definition, with the key; `detail` is one of `causes`."""
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        owner = _model_at(model, detail["loc"][:-1])
        valid = [
            field_.alias or name
            for name, field_ in owner.model_fields.items()
            if name not in ("name", "directory") or owner is not model
        ]
        parent = ".".join(str(part) for part in detail["loc"][:-1])
        return (f"{parent}: " if parent else "") + unknown("key", str(detail["loc"][-1]), valid)
    message = complaint(detail)
    if detail["type"] == "missing":
        return f"key '{where}' is missing"
    value = detail["input"]
    if detail["type"] == "value_error" and (not isinstance(value, str | int) or str(value) in message):
        return f"{where}: {message}" if where else message
    return f"{where}: {message}, got {_shown(value)}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else yaml_core.shortened(repr(value))


def _model_at(model: type[BaseModel], loc: tuple[Any, ...]) -> type[BaseModel]:
    """The model that the keys at `loc` belong to, so that an error can list its valid keys."""
    for part in loc:
        if isinstance(part, int) or part not in model.model_fields:  # of a list, or of a mapping
            continue
        models = [kind for kind in _kinds(model.model_fields[part].annotation)]
        model = models[0] if models else model
    return model


def _kinds(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for arg in get_args(annotation) for kind in _kinds(arg)]
