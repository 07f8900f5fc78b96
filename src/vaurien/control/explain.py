"""What is wrong with JSON that does not fit a type: the field, its value, what would be right, and the nearest name.

msgspec finds the place. The words are made from the type and the value there, so that they are the words of all other
errors of this program.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any

import msgspec
from msgspec import inspect

from vaurien.errors import UnknownName
from vaurien.options import number

_PLACE = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\[(?P<index>\d+|\.\.\.)\]|\.(?P<field>[^.\[]+)")
_FIELD = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>[^`]*)`")

_LONGEST = 60
"""Characters of a value that an error shows."""


def syntax(data: bytes) -> str:
    """What is wrong with *data*, which is not JSON."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return f"the body is not JSON: byte 0x{data[error.start]:02x} at position {error.start} is not UTF-8"
    if not text.strip():
        return "the body is empty; expected a JSON object"
    try:
        json.loads(text, parse_int=str)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()):
            return f"the body is not JSON: it ends too early, at line {error.lineno}, column {error.colno}"
        found = text[error.pos : error.pos + 20].split("\n")[0]
        return f"the body is not JSON: {found!r} cannot stand at line {error.lineno}, column {error.colno}"
    except RecursionError:
        return "the body is nested too deeply"
    return "the body is not JSON: numbers must be finite, and text must be Unicode"  # Python takes others, too


def mismatch(raw: object, wanted: Any, error: msgspec.ValidationError) -> tuple[str, list[str]]:
    """What is wrong with *raw*, which is not a *wanted* because of *error*, and the steps that lead to the field."""
    place = _PLACE.search(str(error))
    value, kind, steps = raw, inspect.type_info(wanted), []
    for step in _STEP.finditer(place["path"] if place else ""):
        kind = _of_structure(kind, value)
        value, kind, name = _descended(value, kind, step["index"] or step["field"])
        steps.append(name)
    field = _FIELD.match(str(error))
    if field is None:
        return _not_valid(steps, value, kind), steps
    fields = {one.encode_name: one.type for one in getattr(_of_structure(kind, value), "fields", ())}
    name = field["name"]
    if field["what"] == "contains unknown":
        return str(UnknownName("field", name, fields)), [*steps, name]
    return f"{name} is missing; expected {_expected(fields[name])}", [*steps, name]


def _not_valid(steps: list[str], value: object, kind: inspect.Type) -> str:
    what = steps[-1] if steps else "the body"
    if what.isdigit():
        what = f"{steps[-2]}[{what}]" if len(steps) > 1 else f"[{what}]"
    expected = _expected(kind)
    choices = _choices(kind)
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.5) if isinstance(value, str) else []
    return f"{what}: {_shown(value)} is not valid; expected {expected}" + (
        f"; did you mean {near[0]!r}?" if near else ""
    )


def _descended(value: Any, kind: inspect.Type, step: str) -> tuple[Any, inspect.Type, str]:
    """The value and its type one *step* below, and the name of the step."""
    match kind:
        case inspect.StructType():
            below = next(field.type for field in kind.fields if field.encode_name == step)
            return value.get(step), below, step
        case inspect.DictType():
            name = next(name for name, content in value.items() if not _fits(content, kind.value_type))
            return value[name], kind.value_type, name
        case inspect.ListType() | inspect.VarTupleType():
            return value[int(step)], kind.item_type, step
    return value, kind, step


def _of_structure(kind: inspect.Type, value: object) -> inspect.Type:
    """*kind* without what it says about itself; of a union the part that is for values such as *value*."""
    wanted: tuple[type[inspect.Type], ...] = ()
    if isinstance(value, dict):
        wanted = (inspect.StructType, inspect.DictType)
    elif isinstance(value, list):
        wanted = (inspect.ListType, inspect.VarTupleType)
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        else:
            parts = [_of_structure(part, value) for part in kind.types]
            return next((part for part in parts if isinstance(part, wanted)), parts[0])
    return kind


def _fits(value: object, kind: inspect.Type) -> bool:
    """Whether *value* is of a simple *kind*, as the contents of objects with any names are."""
    return not isinstance(_of_structure(kind, value), inspect.StrType) or isinstance(value, str)


def _expected(kind: inspect.Type, description: str = "") -> str:
    """What a value of *kind* is, in words."""
    match kind:
        case inspect.Metadata():
            return _expected(kind.type, _small((kind.extra_json_schema or {}).get("description", description)))
        case inspect.UnionType():
            parts = [part for part in kind.types if not isinstance(part, inspect.NoneType)]  # null is for all of them
            return " or ".join(dict.fromkeys(_expected(part, description) for part in parts))
        case inspect.StrType(pattern=None, min_length=None):
            return f"text ({description})" if description else "text"
        case inspect.StrType():
            return f"text ({description or 'one character or more'})"
        case inspect.IntType():
            return number(int, ge=kind.ge, gt=kind.gt, le=kind.le, lt=kind.lt)
        case inspect.FloatType():
            return number(float, ge=kind.ge, gt=kind.gt, le=kind.le, lt=kind.lt)
        case inspect.EnumType() | inspect.LiteralType():
            return "one of " + ", ".join(_choices(kind))
        case inspect.ListType() | inspect.VarTupleType():
            return "a list"
        case inspect.StructType() | inspect.DictType():
            return "an object"
    return "true or false" if isinstance(kind, inspect.BoolType) else "JSON"


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _choices(kind: inspect.Type) -> list[str]:
    match kind:
        case inspect.Metadata():
            return _choices(kind.type)
        case inspect.UnionType():
            return [choice for part in kind.types for choice in _choices(part)]
        case inspect.EnumType():
            return [str(choice.value) for choice in kind.cls]
        case inspect.LiteralType():
            return [str(choice) for choice in kind.values]
    return []


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
