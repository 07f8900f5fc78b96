"""``vaurien schema``: the JSON Schema of TOML files, made from the declarations of all options."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vaurien import plugins
from vaurien.cli.configure import HELP, OK
from vaurien.config import declared, fault
from vaurien.config.catalogue import Catalogue
from vaurien.config.proxies import table_keys
from vaurien.errors import VaurienError
from vaurien.options import Declaration, describe

USAGE = """Usage: vaurien schema

  Print the JSON Schema (draft 2020-12) of Vaurien's TOML files. An editor that knows it completes names and marks what
  is wrong. With Even Better TOML (VS Code) or taplo, write it beside your file and name it in the first line:

    vaurien schema > vaurien.schema.json
    #:schema ./vaurien.schema.json
"""

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def main(arguments: Sequence[str], _variables: Mapping[str, str]) -> int:
    """Print the schema, or with ``--help`` the usage; returns the exit status."""
    if arguments and not HELP.intersection(arguments):
        raise VaurienError(f"schema: unexpected argument {arguments[0]!r}; expected none")
    print(USAGE if HELP.intersection(arguments) else json.dumps(schema(), indent=1), end="\n")
    return OK


def schema() -> Schema:
    """The schema of a file: every table, key, type, range and choice. Plugins of users may have any option."""
    catalogue = Catalogue()
    kinds: tuple[plugins.Kind, ...] = ("behavior", "protocol", "handler")
    own = [option for group in declared.GROUPS if group.section == "vaurien" for option in describe(group.struct)]
    text = {"type": "string"}
    nodes = {"anyOf": [{"type": "object", "additionalProperties": text}, _list(text), text]}
    faults = {"anyOf": [text, _list({"anyOf": [text, {"$ref": "#/$defs/fault"}]})]}
    proxy = {name: _value(option) for name, option in _of_proxy(own).items()}
    proxy |= {"enabled": {"type": "boolean", "default": True}, "fault": faults}
    return {
        "$schema": DRAFT,
        "title": "A configuration file of Vaurien",
        "type": "object",
        "properties": {
            "DEFAULT": _table({"extends": {"anyOf": [{"type": "string"}, _list({"type": "string"})]}}),
            "vaurien": _table({**_options(own), "fault": faults}),
            "statsd": _table(_options(describe(declared.StatsdSection))),
            "mesh": _table({**_options(describe(declared.MeshSection)), "nodes": nodes}),
            "schedule": _table(_options(describe(declared.ScheduleSection))),
            "environment": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
            **{kind: _plugins(catalogue, kind) for kind in kinds},
            "fault": faults,
            "step": _list(_table({**_options(describe(declared.StepSection)), "change": faults, "add": faults})),
            "proxy": _list({**_table(proxy), "required": ["name"]}),
        },
        "patternProperties": {"^(behavior|protocol|handler):": {"type": "object"}},
        "additionalProperties": False,
        "$defs": {"fault": _fault(catalogue)},
    }


def _of_proxy(own: Iterable[Declaration]) -> dict[str, Declaration]:
    known = {option.name: option for option in own}
    return {key: known[name] for key, name in table_keys().items()}


def _options(declarations: Iterable[Declaration]) -> Schema:
    """The properties of a table; an underscore may be written as a dash."""
    found: Schema = {}
    for option in declarations:
        found[option.name] = found[option.name.replace("_", "-")] = _value(option)
    return found


def _table(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _plugins(catalogue: Catalogue, kind: plugins.Kind) -> Schema:
    known = {name: _plugin(catalogue, kind, name) for name in plugins.names(kind)}
    return {"type": "object", "properties": known, "additionalProperties": {"type": "object"}}


def _plugin(catalogue: Catalogue, kind: plugins.Kind, name: str) -> Schema:
    entry = catalogue.find(f"{kind}:{name}")
    return _table({**_options(entry.declarations.values()), "callable": {"type": "string"}})


def _fault(catalogue: Catalogue) -> Schema:
    """A fault's table: what each fault may say, and by its behavior that one's options."""
    common = _options(fault.declarations_of_faults()) | {
        "match": {"type": "object", "additionalProperties": {"type": "string"}}
    }
    behaviors = plugins.names("behavior")
    common["behavior"] = {"type": "string", "examples": behaviors}
    rules = []
    for name in behaviors:
        own = _options(catalogue.find(f"behavior:{name}").declarations.values())
        then: Schema = {"properties": {**own, **dict.fromkeys(common, True)}}  # a field of a fault comes first
        then |= {"patternProperties": {"^(match|options)": True}, "additionalProperties": False}
        rules.append({"if": {"properties": {"behavior": {"const": name}}}, "then": then})
    return {"type": "object", "properties": common, "required": ["behavior"], "allOf": rules}


def _value(option: Declaration) -> Schema:
    """What *option* accepts: its type, or text that stands for it (``500ms``, ``${VARIABLE}``)."""
    types = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    found: Schema = {"type": types.get(option.kind, "string")}
    if option.kind is str:
        found["type"] = ["string", "number"]
    if option.choices:
        found = {"enum": list(option.choices)}
    elif option.kind is list:
        found = {"anyOf": [{"type": "array"}, {"type": "string"}]}
    elif option.kind in (int, float):
        found = {"anyOf": [{"type": found["type"], **option.limits}, {"type": "string"}]}
    if option.help:
        found["description"] = f"{option.help} ({option.unit})" if option.unit else option.help
    if isinstance(option.default, bool | int | float | str):
        found["default"] = option.default
    return found
