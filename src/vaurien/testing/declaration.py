"""What a plugin declares: its docstring, and options that mean the same on every surface."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import msgspec

from vaurien import options
from vaurien.errors import VaurienError


def must(fact: bool, otherwise: str) -> None:
    """Raise AssertionError with *otherwise*, unless *fact*."""
    __tracebackhide__ = True
    if not fact:
        raise AssertionError(otherwise)


def check_options(plugin: type[msgspec.Struct]) -> None:
    """Raise AssertionError unless *plugin* is documented, its options are, and they survive every surface.

    That is: the default, and every choice there is, has the same value when it comes as text (the command line, the
    environment, an ini file), from TOML, and as JSON.
    """
    name = plugin.__name__
    must(bool(inspect.cleandoc(plugin.__doc__ or "")), f"{name} has no docstring: say what each peer sees")
    for option in options.describe(plugin):
        owner = f"{name}: option {option.name}"
        must(
            bool(re.fullmatch(r"[a-z][a-z0-9_]*", option.name)), f"{owner} is not in lower case, as flags and files are"
        )
        must(bool(option.help), f"{owner} has no help, use Option('…')")
        must(option.default is not msgspec.NODEFAULT, f"{owner} has no default")
        for value in _values(option):
            _check_surfaces(plugin, option, value)


def _values(option: options.Declaration) -> Iterator[Any]:
    if option.default is not None:
        yield option.default
    yield from option.choices or ((True, False) if option.kind is bool else ())


def _check_surfaces(plugin: type[msgspec.Struct], option: options.Declaration, value: Any) -> None:
    owner = f"{plugin.__name__}: option {option.name}"
    for surface, form in _forms(value):
        try:
            built = getattr(options.build(plugin, {option.name: form}, owner=plugin.__name__), option.name)
        except VaurienError as error:
            raise AssertionError(f"{owner} does not survive {surface}: {error}") from error
        must(built == value, f"{owner} does not survive {surface}: {value!r} becomes {built!r}")


def _forms(value: Any) -> Iterator[tuple[str, Any]]:
    """How each surface gives *value*."""
    yield "Python", value
    plain = msgspec.to_builtins(value)
    yield "JSON", json.loads(json.dumps(plain))
    yield "TOML", tomllib.loads(f"it = {json.dumps(plain)}")["it"]
    yield "text", options.list_text(plain) if isinstance(plain, list | tuple) else str(plain)
