"""From what was given to a `Configuration`: convert, check, fill in the defaults, and keep the books."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from vaurien import options, plugins
from vaurien.config import circles, declared, fault, policy
from vaurien.config.catalogue import Catalogue
from vaurien.config.layers import Given, Layer, Section, converted
from vaurien.config.mesh import Mesh, with_edges
from vaurien.config.proxies import ProxyTable
from vaurien.config.schedule import Schedule, check_schedule, step_text
from vaurien.config.selection import Options, Selection
from vaurien.errors import ConfigError, OptionError
from vaurien.hooks import overridden
from vaurien.model import Address, Fault, Mix, Policy, ProxyConfig, Scope, parse_route, parse_upstream

DEFAULT = "default"
DRAWN = "drawn at random"

T = TypeVar("T", bound=msgspec.Struct)


class EffectiveSetting(msgspec.Struct, frozen=True):
    """One option's *value* and where it came from: ``default``, a line of a file, a variable, a flag."""

    section: str
    name: str
    value: Any
    source: str
    unit: str = ""
    """What a number counts, such as ``seconds``."""


class Configuration(msgspec.Struct, frozen=True):
    """What one run of ``vaurien`` is to do, checked as a whole, and where each value came from.

    *plugins* are the options given to each plugin, in use or not, by the section that stands for it. *settings* are the
    options of ``vaurien`` itself and of these plugins, those left at their default included. *schedule* is what is to
    change over time, *environment* the variables for the command that ``vaurien run`` starts. *mesh* is the cluster
    whose edges are among the proxies, if there is one.
    """

    proxies: tuple[ProxyConfig, ...]
    connections: declared.Connections
    process: declared.Process
    http: declared.HttpSection
    statsd: declared.StatsdSection
    plugins: Options
    settings: tuple[EffectiveSetting, ...]
    schedule: Schedule = Schedule()
    environment: Mapping[str, Given] = {}
    warnings: tuple[str, ...] = ()
    mesh: Mesh | None = None
    unused: tuple[str, ...] = ()
    """A warning for each option of a behavior that is not in use; where behaviors are set later, it may yet count."""

    def source(self, section: str, name: str) -> str:
        """Where the value of option *name* in *section* came from."""
        return next(setting.source for setting in self.settings if (setting.section, setting.name) == (section, name))


def mix(value: object, source: str | None) -> Mix:
    """The mix that *value*, text or a list of shares, stands for. Raises `OptionError`."""
    shares = value if isinstance(value, list | tuple) else str(value).splitlines()
    return Mix.parse(",".join(map(str, shares)), source=source)


def assemble(
    catalogue: Catalogue,
    layer: Layer,
    warnings: tuple[str, ...],
    proxy_tables: Sequence[ProxyTable] = (),
    schedule: Section | None = None,
    mesh: Mesh | None = None,
) -> Configuration:
    """Everything that *layer* holds, its plugin sections being those that stand for a plugin. Raises `VaurienError`.

    *proxy_tables* are those of a file that has any; then *layer* describes no proxy, but what they have in common.
    """
    if ("vaurien", "seed") not in layer:
        layer = {**layer, ("vaurien", "seed"): Given(str(int.from_bytes(os.urandom(4), "big")), DRAWN)}
    own = _OwnOptions.read(layer)
    shares = mix(own.traffic.behavior, _source(layer, "behavior"))
    selection = Selection(catalogue, own.traffic.protocol, shares, layer)
    read = policy.read(layer, schedule)
    read = msgspec.structs.replace(read, schedule=with_edges(read.schedule, mesh))
    faults = policy.with_sections(read, catalogue, selection.options)
    tables = [_of_table(catalogue, one, faults, layer) for one in proxy_tables]
    proxies = tuple(config for config, _ in tables) or (
        _proxy(own.traffic, own.connections, own.tls, selection, faults, layer),
    )
    _check_listens(proxies, proxy_tables)
    _check_backends(proxies, proxy_tables, layer)
    _check_text(proxies, faults.schedule)
    for preset in faults.presets:
        for config in proxies:
            preset.check(config.protocol)
    check_schedule(faults.schedule, {config.name: config.policy.faults for config in proxies})
    warnings += (*_counting(proxies, faults.schedule), *_idle(proxies, faults.schedule))
    warnings += tuple(
        f"backend {config.backend}: its certificate is not verified, so any server is believed"
        for config in proxies
        if config.backend.tls is not None and not config.backend.tls.verify
    )
    given = layer.get(("vaurien", "fault"))
    if given is not None and given.value not in ([], ()) and not faults.own.fault:  # a list in a program may be empty
        warnings += (f"{_source(layer, 'fault')}: it is empty, so there is no fault of it",)
    return Configuration(
        proxies=proxies,
        connections=own.connections,
        process=own.process,
        http=own.http,
        statsd=own.statsd,
        plugins=selection.options,
        settings=(
            *_own_settings(own.groups(faults.own), layer),
            *_fault_settings("fault", faults.given),
            *_schedule_settings(faults),
            *(setting for _, settings in tables for setting in settings),
            *_plugin_settings(selection, layer),
        ),
        schedule=faults.schedule,
        warnings=(
            *warnings,
            *_without_effect(selection, own.process, layer, tls=bool(own.tls.tls)),
            *_without_tls(proxies, layer),
        ),
        mesh=mesh,
        unused=tuple(_unused(proxies, faults.schedule, layer)),
    )


def _check_listens(proxies: Sequence[ProxyConfig], tables: Sequence[ProxyTable]) -> None:
    """Raise `OptionError` for a proxy that listens where an earlier one does."""
    names: dict[Address, str] = {}
    for config, table in zip(proxies, tables, strict=False):
        first = names.setdefault(config.listen, config.name)
        if first != config.name and (config.listen.port or config.listen.path):
            source = table.layer["vaurien", "proxy"].source if ("vaurien", "proxy") in table.layer else None
            wanted = f"an address of its own; proxy {first!r} listens there"
            raise OptionError(f"proxy {config.name!r} listen", str(config.listen), wanted, source)


def _check_backends(proxies: Sequence[ProxyConfig], tables: Sequence[ProxyTable], layer: Layer) -> None:
    """Raise `OptionError` for a proxy whose backend leads back to it."""
    layers = [table.layer for table in tables] or [layer] * len(proxies)
    for config, own in zip(proxies, layers, strict=False):
        option = f"proxy {config.name!r} backend" if tables else "option backend"
        circles.check(proxies, (config.name,), option=option, source=_source(own, "backend"))


def _check_text(proxies: Sequence[ProxyConfig], schedule: Schedule) -> None:
    """Raise `ConfigError` for text of bytes that are no UTF-8, such as arguments may have: no interface can show it."""
    for name, described in (*((f"proxy {one.name!r}", one) for one in proxies), ("schedule", schedule)):
        try:
            msgspec.json.encode(described)
        except UnicodeEncodeError as error:
            raise ConfigError(f"{name}: {error.object!r} is not valid; expected text in UTF-8") from None


class _OwnOptions(msgspec.Struct, frozen=True):
    """The options of ``vaurien`` itself, but for faults, which presets and schedules give too."""

    traffic: declared.TrafficSection
    connections: declared.Connections
    tls: declared.Tls
    process: declared.Process
    http: declared.HttpSection
    statsd: declared.StatsdSection

    @classmethod
    def read(cls, layer: Layer) -> _OwnOptions:
        """Those that *layer* has, converted; the others have their defaults. Raises `OptionError`."""
        return cls(
            _own(declared.TrafficSection, "vaurien", layer),
            _own(declared.Connections, "vaurien", layer),
            _own(declared.Tls, "vaurien", layer),
            _own(declared.Process, "vaurien", layer),
            _own(declared.HttpSection, "vaurien", layer),
            _own(declared.StatsdSection, "statsd", layer),
        )

    def groups(self, faults: declared.FaultsSection) -> list[tuple[str, Any]]:
        """Each group and its section, in the order of `declared.GROUPS`."""
        vaurien = (self.traffic, faults, self.connections, self.tls, self.process, self.http)
        return [*(("vaurien", group) for group in vaurien), ("statsd", self.statsd)]


def _without_effect(selection: Selection, process: declared.Process, layer: Layer, *, tls: bool) -> Iterator[str]:
    """A warning for each thing that was asked for and does nothing; *tls*: it is spoken with clients."""
    for name, hooks in selection.idle:
        fact = f"acts when a connection begins ({hooks}), and the mix is drawn for each exchange: it has no effect here"
        yield f"{_source(layer, 'behavior')}: {name} {fact}"
    if tls or selection.protocol[0] != "tcp":
        for name in selection.of_records:
            fact = f"acts on records of TLS, and the mix is drawn for each exchange inside; expected --fault {name}"
            yield f"{_source(layer, 'behavior')}: {name} {fact}"
    if process.sync:
        yield f"{_source(layer, 'sync')}: sync has no effect; connections never wait for each other"


def _without_tls(proxies: Iterable[ProxyConfig], layer: Layer) -> Iterator[str]:
    """A warning for each setting of TLS with clients where no proxy speaks it; starttls is for backends too."""
    if not any(config.tls for config in proxies):
        for name in declared.Tls.__struct_fields__:
            if name not in ("tls", "starttls") and (given := layer.get(("vaurien", name))) is not None:
                yield f"{given.source}: {name} has no effect without tls, which says which certificates there are"


def _faults_of(proxies: Iterable[ProxyConfig], schedule: Schedule) -> Iterator[Fault]:
    """Every fault that there will be at some time, one of each name."""
    listed = [one for config in proxies for one in config.policy.faults]
    listed += [one for step in schedule.steps for one in (*step.change, *step.add)]
    yield from {one.name: one for one in listed}.values()


def _idle(proxies: Iterable[ProxyConfig], schedule: Schedule) -> Iterator[str]:
    """A warning for each fault, and each share, that changes nothing."""
    for one in _faults_of(proxies, schedule):
        if reason := fault.without_effect(one):
            yield f"fault {one.name!r} changes nothing: {reason}"
    for share in dict.fromkeys(
        share.behavior for config in proxies for share in config.policy.mix.shares if not share.percent
    ):
        yield f"behavior: a share of 0 percent of {share!r} is never drawn"


def _unused(proxies: Iterable[ProxyConfig], schedule: Schedule, layer: Layer) -> Iterator[str]:
    """A warning for each option that was given to a behavior which is not in use."""
    used = {one.behavior for one in _faults_of(proxies, schedule)}
    mixes = [*(config.policy.mix for config in proxies), *(step.mix for step in schedule.steps if step.mix is not None)]
    used |= {share.behavior for mix in mixes for share in mix.shares}
    found = [plugins.find(name, "behavior", "handler") for name in used]
    sections = {f"{plugin.kind}:{plugin.name}" for plugin in found}
    for (section, option), given in layer.items():
        kind, _, name = section.partition(":")
        if kind in ("behavior", "handler") and section not in sections:
            yield f"{given.source}: option {option} of {name!r} has no effect; no mix and no fault uses that behavior"


def _counting(proxies: Iterable[ProxyConfig], schedule: Schedule) -> Iterator[str]:
    """Warn that one draw for a connection makes all its requests fail, or none."""
    for one in _faults_of(proxies, schedule):
        plugin = plugins.find(one.behavior, "behavior", "handler")
        on_exchanges = not plugin.legacy and overridden(plugin.target) & {"on_request", "on_response"}
        if one.window.count is not None and one.scope is Scope.CONNECTION and on_exchanges:
            fact = "counts connections, each hit in all its exchanges; scope=exchange counts exchanges"
            yield f"fault {one.name!r}: count={one.window.count} {fact}"


def _proxy(
    traffic: declared.TrafficSection,
    connections: declared.Connections,
    tls: declared.Tls,
    selection: Selection,
    faults: policy.Faults,
    layer: Layer,
) -> ProxyConfig:
    protocol, protocol_options = selection.protocol
    return ProxyConfig(
        name=traffic.name,
        listen=_address("proxy", traffic.proxy, layer),
        backend=_backend(traffic, layer),
        route=_routes(connections, layer),
        protocol=protocol,
        protocol_options=protocol_options,
        policy=Policy(selection.policy.mix, faults.faults),
        seed=str(traffic.seed),
        upstream_proxy=_upstream(connections, layer),
        accept_proxy_protocol=connections.accept_proxy_protocol,
        send_proxy_protocol=connections.send_proxy_protocol,
        timeout=connections.timeout,
        stay_connected=connections.stay_connected,
        drain_timeout=connections.drain_timeout,
        backlog=connections.backlog,
        bufsize=connections.bufsize,
        max_connections=connections.max_connections,
        pool_max_size=connections.pool_max_size,
        pool_timeout=connections.pool_timeout,
        **msgspec.structs.asdict(tls),
    )


def _of_table(
    catalogue: Catalogue, one: ProxyTable, faults: policy.Faults, base: Layer
) -> tuple[ProxyConfig, list[EffectiveSetting]]:
    """A ``[[proxy]]``, and its settings; it has a mix only if it is given one, and the faults and the seed of all."""
    layer = {("vaurien", "behavior"): Given("", DEFAULT), ("vaurien", "seed"): base["vaurien", "seed"], **one.layer}
    traffic, connections = _own(declared.TrafficSection, "vaurien", layer), _own(declared.Connections, "vaurien", layer)
    tls = _own(declared.Tls, "vaurien", layer)
    selection = Selection(catalogue, traffic.protocol, mix(traffic.behavior, _source(layer, "behavior")), layer)
    config = _proxy(traffic, connections, tls, selection, faults, layer)
    given = policy.completed(one.faults, catalogue, selection.options)
    names = {fault.name for fault, _ in given}
    shared = tuple(fault for fault in faults.faults if fault.name not in names)
    whole = msgspec.structs.replace(config.policy, faults=(*shared, *(fault for fault, _ in given)))
    settings = _own_settings([("vaurien", traffic), ("vaurien", connections), ("vaurien", tls)], layer)
    shown = [msgspec.structs.replace(setting, section=f"proxy {config.name}") for setting in settings]
    shown += _fault_settings(f"proxy {config.name} fault", given)
    return msgspec.structs.replace(config, policy=whole, enabled=one.enabled), shown


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


def _address(option: str, text: str, layer: Layer, *, dialled: bool = False) -> Address:
    source = _source(layer, option)
    address = Address.parse(text, option=f"option {option}", source=source)
    address.check(text, option=f"option {option}", source=source, dialled=dialled)
    return address


def _backend(traffic: declared.TrafficSection, layer: Layer) -> Address:
    return _address("backend", traffic.backend, layer, dialled=True)


def _routes(connections: declared.Connections, layer: Layer) -> tuple[str, ...]:
    for text in connections.route:
        parse_route(text, option="option route", source=_source(layer, "route"))
    return connections.route


def _upstream(connections: declared.Connections, layer: Layer) -> str | None:
    if connections.upstream_proxy is not None:
        parse_upstream(
            connections.upstream_proxy, option="option upstream_proxy", source=_source(layer, "upstream_proxy")
        )
    return connections.upstream_proxy


def _own_settings(groups: list[tuple[str, Any]], layer: Layer) -> Iterator[EffectiveSetting]:
    for section, group in groups:
        struct: type[msgspec.Struct] = type(group)
        for option in options.describe(struct):
            given = layer.get((section, option.name))
            source = given.source if given else DEFAULT
            yield EffectiveSetting(section, option.name, getattr(group, option.name), source, option.unit)


def _fault_settings(section: str, given: Iterable[tuple[Fault, str]]) -> Iterator[EffectiveSetting]:
    for one, source in given:
        yield EffectiveSetting(section, one.name, fault.text(one, units=True), source)


def _schedule_settings(faults: policy.Faults) -> Iterator[EffectiveSetting]:
    """How the schedule is played, and its steps by their number, in the order of time."""
    schedule = faults.schedule
    if schedule.steps:
        for name in declared.ScheduleSection.__struct_fields__:
            yield EffectiveSetting("schedule", name, getattr(schedule, name), faults.played.get(name, DEFAULT))
    for number, step in enumerate(schedule.steps, 1):
        yield EffectiveSetting("step", str(number), step_text(step), step.source)


def _plugin_settings(selection: Selection, layer: Layer) -> Iterator[EffectiveSetting]:
    for section, entry in selection.entries.items():
        defaults = {name: declaration.default for name, declaration in entry.declarations.items()}
        units = {name: declaration.unit for name, declaration in entry.declarations.items()}
        for name, value in {**defaults, **selection.options[section]}.items():
            given = layer.get((section, name))
            yield EffectiveSetting(section, name, value, given.source if given else DEFAULT, units.get(name, ""))
