"""Several proxies in one TOML file: ``[[proxy]]`` tables, each with its mix and its ``[[proxy.fault]]`` tables.

What a ``[[proxy]]`` does not say it takes from ``[vaurien]``. The environment and the command line come before both.
"""

from __future__ import annotations

import msgspec

from vaurien import options
from vaurien.config import policy
from vaurien.config.declared import Connections, Tls, TrafficSection
from vaurien.config.layers import TABLE, Given, Key, Layer, Section, Tables, converted
from vaurien.config.schedule import listed_faults
from vaurien.errors import ConfigError, UnknownName
from vaurien.model import Fault

_SPELLINGS = {"listen": "proxy", "mix": "behavior"}
_SHARED = frozenset({"grace"})  # of the program, not of a proxy
_OF_ONE = frozenset({"proxy", "backend", "name"})


class Enabled(msgspec.Struct, frozen=True):
    """What only a ``[[proxy]]`` has."""

    enabled: bool = True


class ProxyTable(msgspec.Struct, frozen=True):
    """One ``[[proxy]]``: its options by their names in ``[vaurien]``, its faults and where each stands, its state."""

    layer: Layer
    faults: tuple[tuple[Fault, str], ...]
    enabled: bool


def take(tables: Tables) -> list[ProxyTable]:
    """The proxies of a file, which are taken out of its *tables*.

    Raises `UnknownName` for a key that is none, `OptionError` for a value, `ConfigError` for a name that is missing or
    comes twice.
    """
    sections = [tables.pop(name) for name in sorted(tables, key=_number) if name.startswith(TABLE)]
    found = [_proxy_table(section) for section in sections]
    _check_names([str(one.layer["vaurien", "name"].value) for one in found], sections)
    return found


def refuse_of_one(proxy_tables: list[ProxyTable], where: str, *layers: Layer) -> None:
    """Refuse what *layers* say of one proxy, when there are *proxy_tables*. Raises `ConfigError`; *where* ends it."""
    for layer in layers:
        for (section, option), given in layer.items():
            if proxy_tables and section == "vaurien" and option in _OF_ONE:
                raise ConfigError(f"{given.source}: {where}")


def _number(name: str) -> int:
    return int(name.removeprefix(TABLE)) if name.startswith(TABLE) else 0


def _proxy_table(section: Section) -> ProxyTable:
    values = dict(section.values)
    faults = values.pop("fault", None)
    enabled = values.pop("enabled", None)
    known = table_keys()
    layer: dict[Key, Given] = {}
    for key, given in values.items():
        option = key.replace("-", "_")
        if option not in known:
            raise UnknownName("key of [[proxy]]", key, [*known, "enabled", "fault"], given.source)
        layer["vaurien", known[option]] = given
    if ("vaurien", "name") not in layer:
        raise ConfigError(f"{section.source}: it has no name; expected one, such as name = 'redis'")
    [declaration] = options.describe(Enabled)
    listed = list(listed_faults(faults)) if faults else []
    policy.check_names(listed)
    return ProxyTable(layer, tuple(listed), converted(declaration, enabled, "[[proxy]]") if enabled else True)


def table_keys() -> dict[str, str]:
    """The keys of ``[[proxy]]``, and what they are called in ``[vaurien]``."""
    names = {*TrafficSection.__struct_fields__, *Connections.__struct_fields__, *Tls.__struct_fields__} - {
        *_SPELLINGS.values(),
        *_SHARED,
    }
    return {**{name: name for name in names}, **_SPELLINGS}


def _check_names(names: list[str], sections: list[Section]) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ConfigError(
                f"{sections[position].source}: the name {name!r} is that of another proxy; expected one of its own"
            )
