"""What stands in a YAML file -> what a key takes: the text as it was written, a number, or yes and no."""

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tasks.formats.yaml_core import Written

SWITCH = {**dict.fromkeys(("yes", "on", "true"), True), **dict.fromkeys(("no", "off", "false"), False)}


def fitted(annotation: Any, value: Any) -> Any:
    """`value` for a field of this type, down to the elements of lists and mappings.

    What does not fit is left as it is, for the check of the type. Definitions inside do the same themselves.
    """
    kinds = _alternatives(annotation)
    if Any in kinds:
        return plain(value)
    if isinstance(value, str):
        return _scalar(kinds, value)
    for kind in kinds:
        args = get_args(kind)
        if isinstance(value, list) and get_origin(kind) is tuple:
            same = args[1:] == (...,)
            return tuple(
                fitted(args[0] if same else args[i] if i < len(args) else Any, each)
                for i, each in enumerate(value)
            )
        if isinstance(value, dict) and get_origin(kind) is dict:
            return {fitted(args[0], key): fitted(args[1], each) for key, each in value.items()}
    return value


def truth(value: Any) -> Any:
    """True or False for the words yes, no, on, off, true, false; any other value as it is."""
    return SWITCH.get(value.lower(), value) if isinstance(value, str) else value


def plain(value: Any) -> Any:
    """`value` with each scalar as it was written, down to the elements of lists and mappings."""
    if isinstance(value, Written):
        return str(value)
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    return value


def _scalar(kinds: list[Any], value: str) -> Any:
    if any(kind is str or get_origin(kind) is Literal for kind in kinds):
        return str(value)
    if bool in kinds:
        return truth(value)
    return value.value if isinstance(value, Written) else value


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a type stands for: without what is said about them, and each member of a union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [kind for each in get_args(annotation) for kind in _alternatives(each)]
    return [annotation]
