"""Do the mixes and faults of a configuration suit its proxies? Asked before anything is opened, to say which do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vaurien import plugins
from vaurien.config import Configuration
from vaurien.engine.policy.compiled_policy import CompiledPolicy
from vaurien.errors import OptionError, UnknownName
from vaurien.model import Fault, Policy, ProxyConfig
from vaurien.proxies.proxy import protocol_of


def policies(configuration: Configuration) -> None:
    """Raises `OptionError` or `UnknownName`, with where it was given, for a mix or a fault that a proxy cannot have."""
    for proxy in configuration.proxies:
        protocol = protocol_of(proxy)
        for policy, source in _policies(configuration, proxy):
            try:
                CompiledPolicy(policy, protocol, _as_it_is, forward=proxy.backend.forward)
            except OptionError as error:
                raise OptionError(error.option, error.value, error.expected, source) from None
            except UnknownName as error:
                raise UnknownName(error.kind, error.name, error.known, source, error.hint) from None


def _as_it_is(plugin: plugins.Plugin, _: Mapping[str, Any]) -> Any:
    """A legacy plugin is not made for this: its constructor may open things."""
    return plugin.target


def _policies(configuration: Configuration, proxy: ProxyConfig) -> Iterator[tuple[Policy, str]]:
    """Every mix and every fault that *proxy* will have at some time, each by itself, and where it was given."""
    yield Policy(proxy.policy.mix), _source_of_mix(configuration, proxy)
    for fault, source in _faults(configuration, proxy):
        yield Policy(faults=(fault,)), source
    for step in configuration.schedule.steps:
        if step.mix is not None and step.proxy in (None, proxy.name):
            yield Policy(step.mix), step.source


def _source_of_mix(configuration: Configuration, proxy: ProxyConfig) -> str:
    own = f"proxy {proxy.name}"
    several = any(setting.section == own for setting in configuration.settings)
    return configuration.source(own if several else "vaurien", "behavior")


def _faults(configuration: Configuration, proxy: ProxyConfig) -> Iterator[tuple[Fault, str]]:
    """Every fault that *proxy* will have at some time, and where it was given."""
    sources = {
        setting.name: setting.source
        for section in ("fault", f"proxy {proxy.name} fault")  # the proxy's own comes in the place of one of all
        for setting in configuration.settings
        if setting.section == section
    }
    for fault in proxy.policy.faults:
        yield fault, sources[fault.name]
    for step in configuration.schedule.steps:
        if step.proxy in (None, proxy.name):
            yield from ((fault, step.source) for fault in (*step.change, *step.add))
