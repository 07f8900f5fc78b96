"""Writes `vaurien.library.overloads`: the names of behaviors and their options, for editors and type checkers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from vaurien import options, plugins
from vaurien.library.base import BaseProxy

PATH = Path(__file__).parents[1] / "src" / "vaurien" / "library" / "overloads.py"

_HEAD = '''"""The names of behaviors and their options, for editors and type checkers: `BaseProxy.fault` has this type.

Written by docs/overloads.py from the behaviors: change them there, then `make docs`.
"""
# fmt: off
# ruff: noqa: E501 - a type with many choices is one line

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypedDict, Unpack, overload

from vaurien.library.changes import LiveChange
from vaurien.model import Fault, Scope, Stream, Window


class FaultFields(TypedDict, total=False):
    """The fields of a fault, besides its behavior and the options of that."""

    name: str | None
    stream: Stream | Literal["upstream", "downstream", "both"] | None
    probability: float | None
    scope: Scope | Literal["connection", "exchange", "chunk"] | None
    window: Window | Mapping[str, object] | None
    match: Mapping[str, str] | None
    ttl: float | str | None
    expect_hits: str | None
    options: Mapping[str, object] | None


class AddFault(Protocol):
    """What adds a fault to a proxy, see `BaseProxy.fault`."""
'''

_LAST = """
    @overload
    def __call__(self, behavior: str, /, **more: object) -> LiveChange[Fault]:
        ...
"""


def text() -> str:
    """The module."""
    return _HEAD + "".join(_overload(plugins.find(name, "behavior")) for name in _names()) + _LAST


def _names() -> Iterator[str]:
    fields = set(inspect.signature(BaseProxy._fault).parameters)
    for name in plugins.names("behavior"):
        plugin = plugins.find(name, "behavior")
        built_in = plugin.target.__module__.startswith("vaurien.behaviors.")
        if built_in and not fields & {option.name for option in plugin.declarations}:
            yield name


def _overload(plugin: plugins.Plugin) -> str:
    keywords = "".join(f"        {option.name}: {_type(option)} = ...,\n" for option in plugin.declarations)
    star = "        *,\n" if keywords else ""
    return (
        "\n    @overload\n    def __call__(\n        self,\n"
        f'        behavior: Literal["{plugin.name}"],\n        /,\n{star}{keywords}'
        "        **fault: Unpack[FaultFields],\n    ) -> LiveChange[Fault]:\n        ...\n"
    )


def _type(option: options.Declaration) -> str:
    if option.choices:
        return "Literal[" + ", ".join(f'"{choice}"' for choice in option.choices) + "]"
    if option.kind is list:
        return "Sequence[str] | str"
    name = "str" if option.kind is str else f"{option.kind.__name__} | str" if option.unit else option.kind.__name__
    return f"{name} | None" if option.default is None else name
