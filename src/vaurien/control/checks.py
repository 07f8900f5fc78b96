"""Checks the body of a request; an error points to the field that is wrong."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from vaurien import plugins
from vaurien.control import explain
from vaurien.control.responses import BadRequest
from vaurien.errors import OptionError, UnknownName, VaurienError
from vaurien.model import Address, ProxyConfig
from vaurien.options import MOST
from vaurien.plugins import Kind, Plugin
from vaurien.proxies.tls_files import TlsFiles

T = TypeVar("T")

_EXACT = 2**53
"""Up to here every whole number is one float (IEEE 754)."""


def _number(text: str) -> float:
    """*text* as a number, whole if it can be: to JSON 4096.0 and 4096 are the same (RFC 8259, section 6).

    Raises ValueError for one that is too large.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return int(value) if abs(value) <= _EXACT and value.is_integer() else value


def _fitting(value: Any) -> Any:
    """*value*, with numbers that are larger than `MOST` as floats. Raises ValueError for those that are none either."""
    if isinstance(value, dict):
        return {name: _fitting(content) for name, content in value.items()}
    if isinstance(value, list):
        return [_fitting(part) for part in value]
    if type(value) is int and abs(value) > MOST:
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"the number {str(value)[:20]}... is too large") from None
    return value


_JSON = msgspec.json.Decoder(float_hook=_number)


def decode(data: bytes, wanted: type[T]) -> T:
    """The JSON text *data* as a *wanted*. Raises `BadRequest`."""
    try:
        raw = _fitting(_JSON.decode(data))
    except RecursionError:
        raise BadRequest(400, "the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequest(400, explain.syntax(data)) from None
    except ValueError as error:  # a number that is too large
        raise BadRequest(400, f"the body is not valid: {error}") from None
    return convert(raw, wanted)


def convert(raw: object, wanted: type[T], base: str = "") -> T:
    """*raw*, which is JSON at the pointer *base*, as a *wanted*. Raises `BadRequest`."""
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as error:
        message, steps = explain.mismatch(raw, wanted, error)
        if base and not steps:
            message = message.replace("the body", base.rpartition("/")[2], 1)
        raise BadRequest(400, message, base + "".join(f"/{escaped(step)}" for step in steps)) from None


def escaped(name: str) -> str:
    """*name* as one step of a JSON pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


@contextlib.contextmanager
def at(pointer: str) -> Iterator[None]:
    """An error that is raised inside is about the field at *pointer*."""
    try:
        yield
    except VaurienError as error:
        raise BadRequest(400, str(error), pointer) from None


def address(text: str, pointer: str, *, dialled: bool = False, host: bool = True) -> Address:
    """The address that *text* stands for; one that is *dialled* needs a port. Raises `BadRequest`.

    Without *host* it is not checked whether such an address is possible.
    """
    option = pointer.rpartition("/")[2]
    with at(pointer):
        parsed = Address.parse(text, option=option)
        if host:
            parsed.check(text, option=option, dialled=dialled)
        return parsed


def tls_files(files: TlsFiles, config: ProxyConfig, pointer: str = "") -> ProxyConfig:
    """*config*, which is at *pointer*, if it names no files but those that callers may name. Raises `BadRequest`."""
    try:
        files.check(config)
    except OptionError as error:
        raise BadRequest(400, str(error), f"{pointer}/{error.option}") from None
    return config


def plugin(name: str, options: Mapping[str, Any], pointer: str, *kinds: Kind, names: tuple[str, str]) -> Plugin:
    """The plugin *name*, which takes *options*; both are fields of the object at *pointer*, called *names* there.

    Raises `BadRequest`, also for an import path that callers may not use (`plugins.find_for_caller`).
    """
    with at(f"{pointer}/{names[0]}"):
        found = plugins.find_for_caller(name, *kinds)
    declared = {declaration.name: declaration for declaration in found.declarations}
    owner = f"{found.kind} {name!r}"
    for option, value in options.items():
        with at(f"{pointer}/{names[1]}/{escaped(option)}"):
            if option in declared:
                _converts(declared[option], value, owner)
            elif not (found.kind == "handler" and "." in name):  # may be given options it does not declare
                raise UnknownName(f"option of {owner}", option, declared)
    return found


def _converts(declaration: Any, value: object, owner: str) -> None:
    try:
        declaration.convert(value, owner=owner)
    except (ArithmeticError, LookupError):  # what the type of a legacy plugin's option may raise
        raise OptionError(f"{owner} option {declaration.name}", value, declaration.expected) from None


def merged(old: object, patch: object) -> object:
    """*old* with what *patch* says, as RFC 7396 defines it: objects are merged, null removes, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
