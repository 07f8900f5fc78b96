"""JSON as Go's ``encoding/json`` decodes it into a struct, with its error messages.

Clients of Toxiproxy have grown up with these rules: names match whatever their case, unknown ones are ignored, null
means not given, a number is whole or it is not, and what follows the first value does not matter.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from vaurien.control.toxiproxy import go_syntax

_SPACE = " \t\r\n"
_WHOLE = re.compile(r"-?\d+")
_INT64 = range(-(2**63), 2**63)
_INT64_DIGITS = len(str(_INT64.start))
_FLOAT32_MAX, _FLOAT64_MAX = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0], sys.float_info.max

ANONYMOUS = "struct"
"""A struct without a name begins so: in messages about one of its fields nothing stands before the dot."""


class BadBody(Exception):
    """A body that cannot be decoded; the message is Go's."""


class Number(str):
    """A number as it is written: Go decides by its text whether it is whole."""

    __slots__ = ()


class Object(list[tuple[str, Any]]):
    """The members of a JSON object, in order; the same name may come twice."""


class Type(msgspec.Struct, frozen=True):
    """A type of Go's: its name in messages, and the *kind* of value that it takes."""

    name: str
    kind: str


STRING = Type("string", "string")
BOOL = Type("bool", "bool")
INT = Type("int", "int")
INT64 = Type("int64", "int")
FLOAT32 = Type("float32", "float")
FLOAT64 = Type("float64", "float")
ANY = Type("interface {}", "any")


def decode(body: bytes) -> Any:
    """The first value of *body*, with `Object` and `Number` in it. Raises `BadBody`."""
    text = body.decode("utf-8", "replace").lstrip(_SPACE)
    if not text:
        raise BadBody("EOF")
    try:
        value, end = _PARSER.raw_decode(text)
        value = _with_whole_characters(value) if _HALF.search(text) else value
    except json.JSONDecodeError:
        raise BadBody(go_syntax.complaint(body)) from None
    except RecursionError:
        raise BadBody("exceeded max depth") from None
    if isinstance(value, Number) and go_syntax.number_goes_on(value, text[end : end + 1]):
        raise BadBody(go_syntax.complaint(body))
    return value


def cost(body: bytes) -> int:
    """How many values and escapes *body* has at most; each takes as long as many plain characters."""
    return sum(body.count(mark) for mark in (b",", b"[", b"{", b"\\"))


def members(value: Any, go_struct: str, fields: Mapping[str, Type], path: str = "") -> tuple[dict[str, Any], list[str]]:
    """What *value*, decoded into the *go_struct* with these *fields*, gives: by field, and the names it does not know.

    *path* is where *value* stands in the body, for messages. Raises `BadBody`.
    """
    if value is None:
        return {}, []
    if not isinstance(value, Object):
        raise mismatch(value, f"value of type {go_struct}")
    given: dict[str, Any] = {}
    unknown = []
    folded = {name.casefold(): name for name in fields}
    for member, content in value:
        name = folded.get(member.casefold())
        if name is None:
            unknown.append(member)
        elif content is not None:
            type_ = fields[name]
            owner = "" if go_struct.startswith(ANONYMOUS) else go_struct.rpartition(".")[2]
            where = f"struct field {owner}.{path}{name} of type {type_.name}"
            given[name] = _converted(content, type_, where)
    return given, unknown


def mismatch(value: Any, where: str) -> BadBody:
    """The error for a *value* that is of another type than Go's *where*."""
    return BadBody(f"json: cannot unmarshal {_kind(value)} into Go {where}")


def encode(value: object) -> bytes:
    """*value* as Go's ``json.Marshal`` writes it: compact, and safe inside HTML."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def float32(value: float) -> float | int:
    """*value* as Go shows one of 32 bits: the shortest number that means the same, without a needless point."""
    near = struct.unpack("f", struct.pack("f", value))[0]
    candidates = (float(f"{near:.{digits}g}") for digits in range(1, 10))
    shortest = next(one for one in candidates if struct.pack("f", one) == struct.pack("f", near))
    return int(shortest) if shortest == int(shortest) else shortest


def plain(value: Any) -> Any:
    """*value* with the types of Python: dicts, lists, and numbers: `int` for what fits an int64, else `float`."""
    if isinstance(value, Object):
        return {name: plain(content) for name, content in value}
    if isinstance(value, Number):
        return int(value) if _is_int64(value) else float(value)
    return [plain(part) for part in value] if isinstance(value, list) else value


def _converted(value: Any, type_: Type, where: str) -> Any:
    kind = type_.kind
    if kind == "any":
        return value
    if isinstance(value, Number) and kind in ("int", "float"):
        if kind == "float":
            number = float(value)
            if abs(number) > (_FLOAT32_MAX if type_ is FLOAT32 else _FLOAT64_MAX):
                raise BadBody(f"json: cannot unmarshal number {value} into Go {where}")
            return number
        if not _is_int64(value):
            raise BadBody(f"json: cannot unmarshal number {value} into Go {where}")
        return int(value)
    if kind != _kind(value):
        raise mismatch(value, where)
    return value


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""What may be half a surrogate pair, escaped."""


def _with_whole_characters(value: Any) -> Any:
    """*value* with Go's replacement character for each half of a surrogate pair, which cannot be encoded again."""
    if isinstance(value, Object):
        return Object((_with_whole_characters(name), _with_whole_characters(content)) for name, content in value)
    if isinstance(value, list):
        return [_with_whole_characters(part) for part in value]
    if type(value) is str:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _is_int64(value: Number) -> bool:
    """Whether it is written as a whole number of 64 bits. Its length comes first: int() does not take any."""
    return bool(_WHOLE.fullmatch(value)) and len(value) <= _INT64_DIGITS and int(value) in _INT64


def _kind(value: Any) -> str:
    """What Go calls it."""
    for types, name in ((bool, "bool"), (Number, "number"), (str, "string"), (Object, "object")):
        if isinstance(value, types):
            return name
    return "array"


def _refuse_constant(text: str) -> NoReturn:
    """NaN and the infinities, which Python would take."""
    raise json.JSONDecodeError("Expecting value", text, 0)


_PARSER = json.JSONDecoder(
    object_pairs_hook=Object, parse_float=Number, parse_int=Number, parse_constant=_refuse_constant
)
