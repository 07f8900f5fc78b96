"""Routes about what there is to choose from: behaviors and protocols, with schemas of their options."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from vaurien import options, plugins
from vaurien.config import fault, presets
from vaurien.config.policy import Preset
from vaurien.control.responses import BadRequest
from vaurien.control.routes import RouteCall
from vaurien.errors import VaurienError
from vaurien.options import Declaration
from vaurien.plugins import Kind, Plugin

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class PluginAnswer(msgspec.Struct):
    """A behavior, a protocol or a handler: its documentation, and a JSON Schema of its options."""

    name: str
    kind: Kind
    summary: str
    description: str
    options: dict[str, Any]
    fields: list[str] = []
    """What a match may name, of a protocol; a name that ends in a dot is the beginning of one."""


class BehaviorList(msgspec.Struct):
    """Behaviors, and the handlers that a mix may name like them."""

    behaviors: list[PluginAnswer]


class ProtocolList(msgspec.Struct):
    """Protocols."""

    protocols: list[PluginAnswer]


class PresetAnswer(msgspec.Struct):
    """A preset: what it stands for, where that comes from, and the faults that it adds, as ``--fault`` takes them.

    A proxy with it speaks one of *protocols*, or anything where there are none. One with a *schedule* is for
    ``vaurien --preset``, and cannot be added to a running proxy.
    """

    name: str
    about: str
    source: str
    protocols: list[str]
    faults: list[str]
    schedule: bool
    fault_bodies: list[dict[str, Any]]
    """The same faults as requests take them."""


class PresetList(msgspec.Struct):
    """Presets."""

    presets: list[PresetAnswer]


async def list_presets(_: RouteCall) -> object:
    """All presets: faults of a network or a backend, and causes such as ``postgres.deadlock``."""
    found = []
    for name in presets.names():
        found.append(_preset(name))
        await asyncio.sleep(0)  # connections go on meanwhile: together they take half a second the first time
    return PresetList(found)


@functools.cache  # reads files of the package, which do not change while a program runs
def _preset(name: str) -> PresetAnswer:
    made = Preset.parse(name)
    faults = [fault.text(one) for one, _ in made.faults]
    scheduled, bodies = made.schedule is not None, [msgspec.to_builtins(one) for one, _ in made.faults]
    return PresetAnswer(
        name, presets.about(name), presets.source(name), list(made.protocols), faults, scheduled, bodies
    )


async def list_behaviors(call: RouteCall) -> object:
    """All behaviors that a fault or a mix can name, with a JSON Schema of the options of each.

    With `protocol` only those that act on a proxy of that protocol.
    """
    found = await _all("behavior", "handler")
    name = call.query.get("protocol")
    return BehaviorList(list(found if name is None else _suiting(_find(name, "protocol"), found)))


async def list_protocols(_: RouteCall) -> object:
    """All protocols that a proxy can speak, with a JSON Schema of the options of each."""
    return ProtocolList(await _all("protocol"))


async def get_behavior(call: RouteCall) -> object:
    """One behavior."""
    return _answer(_find(call.path["behavior"], "behavior", "handler"))


async def get_protocol(call: RouteCall) -> object:
    """One protocol."""
    return _answer(_find(call.path["protocol"], "protocol"))


def _find(name: str, *kinds: Kind) -> Plugin:
    try:
        return plugins.find_for_caller(name, *kinds)
    except VaurienError as error:
        raise BadRequest(404, str(error)) from None


async def _all(*kinds: Kind) -> list[PluginAnswer]:
    found = []
    for name in sorted({name for kind in kinds for name in plugins.names(kind)}):
        with contextlib.suppress(VaurienError):  # an installed plugin that does not import
            found.append(_answer(plugins.find_for_caller(name, *kinds)))
        await asyncio.sleep(0)  # connections go on meanwhile
    return found


def _suiting(protocol: Plugin, behaviors: Iterable[PluginAnswer]) -> Iterator[PluginAnswer]:
    """Those of *behaviors* that have nothing against *protocol*."""
    spoken = options.build(protocol.target, {}, owner=f"protocol {protocol.name!r}")
    for answer in behaviors:
        plugin = plugins.find_for_caller(answer.name, "behavior", "handler")
        with contextlib.suppress(VaurienError):
            if not plugin.legacy:
                options.build(plugin.target, {}, owner=f"behavior {plugin.name!r}").check(spoken)
            yield answer


def _answer(plugin: Plugin) -> PluginAnswer:
    text = inspect.getdoc(plugin.target) or ""
    return PluginAnswer(
        plugin.name, plugin.kind, " ".join(text.partition("\n\n")[0].split()), text, _schema(plugin), _fields(plugin)
    )


def _fields(plugin: Plugin) -> list[str]:
    return ["client", *plugin.target.fields] if plugin.kind == "protocol" and not plugin.legacy else []


def _schema(plugin: Plugin) -> dict[str, Any]:
    """A JSON Schema of the options of *plugin*."""
    properties = {option.name: _property(option) for option in plugin.declarations}
    if not plugin.legacy:
        bounds = _bounds(plugin.target)
        properties = {name: {**bounds.get(name, {}), **words} for name, words in properties.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


@functools.cache  # a class does not change, and this takes longer than all the rest
def _bounds(target: type[msgspec.Struct]) -> dict[str, Any]:
    """What its annotations say of each option of *target*."""
    [schema], components = msgspec.json.schema_components([target], ref_template="#/$defs/{name}")
    bounds: dict[str, Any] = components.pop(schema["$ref"].rpartition("/")[2])["properties"]
    return bounds


def _property(option: Declaration) -> dict[str, Any]:
    words = {"description": "; ".join(filter(None, [option.help, option.expected])), "default": option.default}
    if option.choices:
        return {**words, "enum": list(option.choices)}
    return {**words, "type": _TYPES.get(option.kind, "string")}
