"""Proxies that run as the text of a file, and the proxies of a text that came over HTTP.

A file has one set of options for each plugin, so some of what a proxy can be told while it runs has no place in it; the
text says so in a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from vaurien import options
from vaurien.config import fault, proxies, toml
from vaurien.config.assemble import mix
from vaurien.config.declared import Connections, Tls, TrafficSection
from vaurien.config.layers import TABLE, Section, Tables, converted, escaped
from vaurien.errors import ConfigError, UnknownName
from vaurien.model import ProxyConfig

_PATH = "the text"
_ALWAYS = ("protocol", "seed")
"""What is said even when it is as it would be anyway."""


def as_toml(configs: Iterable[ProxyConfig]) -> str:
    """*configs* as ``[[proxy]]`` tables."""
    return "\n".join("\n".join(["[[proxy]]", *_table(config), ""]) for config in configs)


def _table(config: ProxyConfig) -> Iterator[str]:
    values = dict(_values(config))
    if config.policy.faults:
        values["fault"] = [fault.text(one) for one in config.policy.faults]
    if not config.enabled:
        values["enabled"] = False
    yield from (f"{name} = {_toml(value)}" for name, value in values.items())
    yield from _left_out(config)


def as_ini(config: ProxyConfig) -> str:
    """*config* as a ``[vaurien]`` section, which stands for one proxy."""
    spellings = proxies.table_keys()
    lines = ["[vaurien]"]
    for name, value in _values(config):
        parts = value if isinstance(value, list) else [value]
        lines.append(f"{spellings[name]} = " + "\n    ".join(map(_ini, parts)))
    if config.policy.faults:
        lines.append("fault =" + "".join(f"\n    {escaped(fault.text(one))}" for one in config.policy.faults))
    return "\n".join([*lines, *_left_out(config), *([] if config.enabled else ["# enabled = false"]), ""])


def _values(config: ProxyConfig) -> Iterator[tuple[str, Any]]:
    """What a file says of *config*, by the keys of ``[[proxy]]``."""
    yield from (("name", config.name), ("listen", str(config.listen)), ("backend", str(config.backend)))
    if config.policy.mix.shares:
        yield "mix", str(config.policy.mix)
    known = proxies.table_keys()
    for field in msgspec.structs.fields(ProxyConfig):
        value = getattr(config, field.name)
        said = field.name in _ALWAYS or (field.default is not msgspec.NODEFAULT and value != field.default)
        if said and field.name in known:
            yield field.name, list(value) if isinstance(value, tuple) else value


def _left_out(config: ProxyConfig) -> Iterator[str]:
    if config.protocol_options:
        yield f"# not said here: the options of the protocol, {json.dumps(config.protocol_options)}"
    for share in config.policy.mix.shares:
        if share.options:
            yield f"# not said here: the options of {share.behavior} in the mix, {json.dumps(share.options)}"


def _toml(value: object) -> str:
    """*value* as TOML writes it (its version 1.0, "String": a basic string has no control characters)."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        value = escaped(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _ini(value: object) -> str:
    """*value* as a line of ini, in quotes where it would be read as something else without."""
    text = escaped(str(value))
    if isinstance(value, str) and (text != text.strip() or text[:1] in ("", "#", ";", '"', "'")):
        return f'"{text}"'
    return text


def from_toml(text: str, permit: Callable[[str], object]) -> list[dict[str, Any]]:
    """What the ``[[proxy]]`` tables of *text* say, by the fields of `ProxyConfig`; all of their mix and faults.

    *permit* is asked for each behavior, before anything is imported for it. ``${NAME}`` is refused: a caller that may
    send a text may not read the environment. Raises `VaurienError`.
    """
    if variable := re.search(r"(?<!\$)\$\{\w*", text):
        raise ConfigError(f"{_PATH}: {variable[0]}}} would be a variable of the environment; expected its value")
    tables = toml.read(text, _PATH, {})
    for name, section in tables.items():
        if not name.startswith(TABLE):
            raise UnknownName("table", f"[{name}]", ["[[proxy]]", "[[proxy.fault]]"], section.source)
    for behavior in _behaviors(tables):
        permit(behavior)
    return [_fields(one) for one in proxies.take(tables)]


def _behaviors(tables: Tables) -> Iterator[str]:
    """The behaviors of all faults; whatever is none of them is for `proxies.take` to refuse."""
    for section in tables.values():
        given = section.values["fault"].value if "fault" in section.values else []
        for one in given if isinstance(given, list) else [given]:
            if isinstance(one, Section):
                one = {name: value.value for name, value in one.values.items()}
            if isinstance(one, Mapping):
                yield str(one.get(fault.BEHAVIOR, ""))
            elif isinstance(one, str):
                yield from (line.split()[0] for line in one.splitlines() if line.strip())


def _fields(table: proxies.ProxyTable) -> dict[str, Any]:
    declared = {one.name: one for struct in (TrafficSection, Connections, Tls) for one in options.describe(struct)}
    named = {option: key for key, option in proxies.table_keys().items()}
    fields: dict[str, Any] = {"mix": [], "enabled": table.enabled}
    for (_, option), given in table.layer.items():
        if option == "behavior":
            fields["mix"] = msgspec.to_builtins(mix(given.value, given.source).shares)
        else:
            fields[named[option]] = converted(declared[option], given, "[[proxy]]")
    fields["faults"] = [msgspec.to_builtins(one, enc_hook=str) for one, _ in table.faults]
    return fields
