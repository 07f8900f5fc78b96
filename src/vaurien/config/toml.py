"""TOML files, with the sections of the ini format: ``[behavior.delay]`` and ``["behavior:delay"]`` are the same.

Tables that may come several times, ``[[fault]]``, ``[[step]]`` and ``[[proxy.fault]]``, are lists in the section that
they belong to.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from vaurien.config.layers import PLUGIN_WORDS, TABLE, Given, Section, Tables, expand
from vaurien.config.toml_lines import TomlLines
from vaurien.errors import ConfigError, OptionError, UnknownName

_ARRAYS: Mapping[str, str] = {"fault": "vaurien", "step": "schedule"}
"""Tables that may come several times, and the section they belong to."""

_REPEATED = ("[[fault]]", "[[proxy]]", "[[proxy.fault]]", "[[step]]")


def read(text: str, path: str, environment: Mapping[str, str]) -> Tables:
    """The sections of *text*. Raises `ConfigError` or `UnknownName`, with *path* and a line, for what it cannot be."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: its values are nested too deeply") from None
    arrays = {name: document.pop(name) for name in _ARRAYS if isinstance(document.get(name), list)}
    tables: Tables = {}
    lines = TomlLines(text)
    faults = _faults(document.get("proxy"), path, lines, environment)
    for name, table in _sections(document, path, lines):
        section = tables.setdefault(name, Section(_where(path, name, lines), {}))
        for key, value in table.items():
            source = f"{_where(path, name, lines, key)} {key}"
            expanded = faults.get(name) if key == "fault" and name in faults else _expanded(value, environment, source)
            section.values[key] = Given(expanded, source, expanded)
    for name, members in arrays.items():
        section = tables.setdefault(_ARRAYS[name], Section(path, {}))
        if name in section.values:
            raise ConfigError(f"{section.values[name].source}: expected it once, there is [[{name}]] in the file too")
        listed = list(_array(name, members, path, lines, environment))
        section.values[name] = Given(listed, f"{path} [[{name}]]", listed)
    return tables


def _faults(
    proxies: object, path: str, lines: TomlLines, environment: Mapping[str, str]
) -> Mapping[str, list[Section]]:
    """The ``[[proxy.fault]]`` tables, by the section of their proxy."""
    found: dict[str, list[Section]] = {}
    first = 0
    for number, proxy in enumerate(proxies if isinstance(proxies, list) else ()):
        members = proxy.get("fault") if isinstance(proxy, dict) else None
        if isinstance(members, list) and not lines.states("proxy", number, "fault"):
            found[f"{TABLE}{number + 1}"] = list(_array("proxy.fault", members, path, lines, environment, first))
            first += len(members)
    return found


def _array(
    name: str, members: list[Any], path: str, lines: TomlLines, environment: Mapping[str, str], first: int = 0
) -> Iterator[Section]:
    """Each table of an array, and the line of each of its keys; *first* is the place of the first one in the file."""
    for place, table in enumerate(members, first):
        if not isinstance(table, dict):
            raise ConfigError(f"{path} [[{name}]]: {table!r} is not valid; expected a table")
        values = {}
        for key, value in table.items():
            source = f"{path} line {lines.of(name, place, key)} [[{name}]] {key}"
            values[key] = Given(_expanded(value, environment, source), source)
        yield Section(f"{path} line {lines.of(name, place)} [[{name}]]", values)


def _where(path: str, section: str, lines: TomlLines, key: str = "") -> str:
    """*path*, the line of *key*, or else of *section*, if it is known, and *section* as it is written."""
    number = section.removeprefix(TABLE)
    of_proxy = number != section
    line = lines.of("proxy", int(number) - 1, key) if of_proxy else lines.of(section, 0, key)
    if line is None:
        return f"{path} {section}" if of_proxy else f"{path} [{section}]"
    return f"{path} line {line} {TABLE.strip() if of_proxy else f'[{section}]'}"


def _sections(document: Mapping[str, Any], path: str, lines: TomlLines) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, table in document.items():
        if name == "proxy" and isinstance(table, list) and all(isinstance(one, dict) for one in table):
            yield from ((f"{TABLE}{number}", one) for number, one in enumerate(table, 1))
            continue
        if isinstance(table, list) and (line := lines.of(name)):
            raise UnknownName("table", f"[[{name}]]", _REPEATED, f"{path} line {line}")
        if isinstance(table, dict) and f"[[{name}]]" in _REPEATED:
            wanted = f"[[{name}]], of which there may be several"
            raise OptionError("table", f"[{name}]", wanted, f"{path} line {lines.of(name)}")
        if not isinstance(table, dict):
            where = f"{path} line {lines.of('', 0, name)}"
            raise ConfigError(f"{where}: {name!r} stands before the first section; expected it under [vaurien]")
        if name not in PLUGIN_WORDS:
            yield name, table
            continue
        for plugin, options in table.items():
            if not isinstance(options, dict):
                wanted = f"a section for each {name}, such as [{name}.NAME]"
                raise ConfigError(f"{path} [{name}] {plugin}: {options!r} is not valid; expected {wanted}")
            yield f"{name}:{plugin}", options


def _expanded(value: Any, environment: Mapping[str, str], source: str) -> Any:
    if isinstance(value, str):
        return expand(value, environment, source)
    if isinstance(value, list):
        return [_expanded(part, environment, source) for part in value]
    if isinstance(value, dict):
        return {key: _expanded(part, environment, source) for key, part in value.items()}
    return value
