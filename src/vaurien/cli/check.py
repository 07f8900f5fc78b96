"""Do the faults of a configuration suit its proxies? Asked before anything is opened, to say which of them does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vaurien import plugins
from vaurien.config import Configuration
from vaurien.engine.plan import Plan
from vaurien.errors import OptionError, UnknownName
from vaurien.model import Fault, Policy, ProxyConfig
from vaurien.proxy import protocol_of


def faults(configuration: Configuration) -> None:
    """Raises `OptionError` or `UnknownName`, naming where the fault was given, for one that its proxy cannot have."""
    for proxy in configuration.proxies:
        protocol = protocol_of(proxy)
        for fault, source in _faults(configuration, proxy):
            try:
                Plan(Policy(faults=(fault,)), protocol, _as_it_is)
            except OptionError as error:
                raise OptionError(error.option, error.value, error.expected, source) from None
            except UnknownName as error:
                raise UnknownName(error.kind, error.name, error.known, source) from None


def _as_it_is(plugin: plugins.Plugin, _: Mapping[str, Any]) -> Any:
    """A plugin of the original is not made for this: its constructor may open things."""
    return plugin.target


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
