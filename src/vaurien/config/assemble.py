"""From what was given to a `Configuration`: convert, check, fill in the defaults, and keep the books."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import msgspec

from vaurien import options
from vaurien.config import declared
from vaurien.config.catalogue import Catalogue, Entry
from vaurien.config.layers import Given, Layer, converted, is_plugin
from vaurien.errors import OptionError
from vaurien.model import Address, Mix, Policy, ProxyConfig, Share

DEFAULT = "default"
DRAWN = "drawn at random"

Options: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The options given to plugins, by the section that stands for the plugin."""

T = TypeVar("T", bound=msgspec.Struct)


class Setting(msgspec.Struct, frozen=True):
    """One option's *value* and where it came from: ``default``, a line of a file, a variable, a flag."""

    section: str
    name: str
    value: Any
    source: str


class Configuration(msgspec.Struct, frozen=True):
    """What one run of ``vaurien`` is to do, checked as a whole, and where each value came from.

    *plugins* are the options given to each plugin, in use or not, by the section that stands for it. *settings* are the
    options of ``vaurien`` itself and of these plugins, those left at their default included.
    """

    proxies: tuple[ProxyConfig, ...]
    connections: declared.Connections
    process: declared.Process
    http: declared.Http
    statsd: declared.Statsd
    plugins: Options
    settings: tuple[Setting, ...]
    warnings: tuple[str, ...] = ()

    def source(self, section: str, name: str) -> str:
        """Where the value of option *name* in *section* came from."""
        return next(setting.source for setting in self.settings if (setting.section, setting.name) == (section, name))


def mix(value: object, source: str | None) -> Mix:
    """The mix that *value*, text or a list of shares, stands for. Raises `OptionError`."""
    shares = value if isinstance(value, list | tuple) else str(value).splitlines()
    return Mix.parse(",".join(map(str, shares)), source=source)


def assemble(catalogue: Catalogue, layer: Layer, warnings: tuple[str, ...]) -> Configuration:
    """Everything that *layer* holds, its plugin sections being those that stand for a plugin. Raises `VaurienError`."""
    if ("vaurien", "seed") not in layer:
        layer = {**layer, ("vaurien", "seed"): Given(str(secrets.randbits(32)), DRAWN)}
    traffic = _own(declared.Traffic, "vaurien", layer)
    connections = _own(declared.Connections, "vaurien", layer)
    process = _own(declared.Process, "vaurien", layer)
    http = _own(declared.Http, "vaurien", layer)
    statsd = _own(declared.Statsd, "statsd", layer)
    shares = mix(traffic.behavior, _source(layer, "behavior")).shares
    protocol = catalogue.find(f"protocol:{traffic.protocol}")
    behaviors = [catalogue.find(f"behavior:{share.behavior}") for share in shares]
    mentioned = [catalogue.find(section) for section, _ in layer if is_plugin(section)]
    entries = {entry.section: entry for entry in (protocol, *behaviors, *mentioned)}
    plugins = {section: _options(entry, layer) for section, entry in entries.items()}
    drawn = zip(shares, behaviors, strict=True)
    policy = Policy(
        Mix(tuple(Share(share.percent, entry.plugin.name, plugins[entry.section]) for share, entry in drawn))
    )
    if process.sync:
        warnings += (f"{_source(layer, 'sync')}: sync has no effect; connections never wait for each other",)
    own = [("vaurien", group) for group in (traffic, connections, process, http)] + [("statsd", statsd)]
    return Configuration(
        proxies=(_proxy(traffic, connections, layer, protocol, plugins[protocol.section], policy),),
        connections=connections,
        process=process,
        http=http,
        statsd=statsd,
        plugins=plugins,
        settings=(*_own_settings(own, layer), *_plugin_settings(entries, plugins, layer)),
        warnings=warnings,
    )


def _proxy(
    traffic: declared.Traffic,
    connections: declared.Connections,
    layer: Layer,
    protocol: Entry,
    protocol_options: Mapping[str, Any],
    policy: Policy,
) -> ProxyConfig:
    return ProxyConfig(
        name=traffic.name,
        listen=Address.parse(traffic.proxy, option="option proxy", source=_source(layer, "proxy")),
        backend=_backend(traffic.backend, _source(layer, "backend")),
        protocol=protocol.plugin.name,
        protocol_options=protocol_options,
        policy=policy,
        seed=str(traffic.seed),
        timeout=connections.timeout,
        stay_connected=connections.stay_connected,
        backlog=connections.backlog,
        bufsize=connections.bufsize,
        max_connections=connections.max_connections,
        pool_max_size=connections.pool_max_size,
        pool_timeout=connections.pool_timeout,
    )


def _own(struct: type[T], section: str, layer: Layer) -> T:
    owner = "statsd" if section == "statsd" else ""
    values = {
        declaration.name: converted(declaration, layer[section, declaration.name], owner)
        for declaration in options.describe(struct)
        if (section, declaration.name) in layer
    }
    return struct(**values)


def _source(layer: Layer, option: str) -> str | None:
    given = layer.get(("vaurien", option))
    return given.source if given else None


def _backend(text: str, source: str | None) -> Address:
    address = Address.parse(text, option="option backend", source=source)
    if address.path is None and address.port == 0:
        raise OptionError("option backend", text, "a port from 1 to 65535 after the last colon", source)
    return address


def _options(entry: Entry, layer: Layer) -> dict[str, Any]:
    """The options given to the plugin of *entry*, converted; rules between them are checked too."""
    owner = f"{entry.plugin.kind} {entry.plugin.name!r}"
    given = {option: value for (section, option), value in layer.items() if section == entry.section}
    values = {
        option: converted(entry.declarations[option], value, owner) if option in entry.declarations else value.typed
        for option, value in given.items()
    }
    if entry.plugin.style == "modern":
        sources = {option: value.source for option, value in given.items()}
        options.build(entry.plugin.target, values, owner=owner, sources=sources)
    return values


def _own_settings(groups: list[tuple[str, Any]], layer: Layer) -> Iterator[Setting]:
    for section, group in groups:
        for name in group.__struct_fields__:
            given = layer.get((section, name))
            yield Setting(section, name, getattr(group, name), given.source if given else DEFAULT)


def _plugin_settings(entries: Mapping[str, Entry], plugins: Options, layer: Layer) -> Iterator[Setting]:
    for section, entry in entries.items():
        defaults = {name: declaration.default for name, declaration in entry.declarations.items()}
        for name, value in {**defaults, **plugins[section]}.items():
            given = layer.get((section, name))
            yield Setting(section, name, value, given.source if given else DEFAULT)
