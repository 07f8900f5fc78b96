"""Legacy plugins become instances, one for each proxy, with the two attributes they were promised."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from vaurien.errors import PluginError
from vaurien.model import ProxyConfig
from vaurien.plugins import Plugin


class ProxyView:
    """What a plugin may ask of its proxy: ``self.proxy``. *current* gives the proxy's configuration of this moment."""

    def __init__(self, current: Callable[[], ProxyConfig]) -> None:
        self._current = current

    @property
    def name(self) -> str:
        """The proxy's name."""
        return self._current().name

    @property
    def backend(self) -> str:
        """The backend's address as text: ``host:port``."""
        return str(self._current().backend)

    @property
    def dest(self) -> tuple[str, int]:
        """The backend's address as host and port, not resolved."""
        backend = self._current().backend
        return backend.host, backend.port

    @property
    def protocol(self) -> str:
        """The name of the proxy's protocol."""
        return self._current().protocol

    @property
    def timeout(self) -> float:
        """Seconds after which the sockets give up."""
        return self._current().timeout

    @property
    def stay_connected(self) -> bool:
        """Whether the client is kept when the backend went away."""
        return self._current().stay_connected


def instantiate(
    plugin: Plugin,
    options: Mapping[str, Any],
    proxy: ProxyView,
    sources: Mapping[str, str] | None = None,
) -> Any:
    """A new instance of *plugin*, a legacy plugin, for one proxy.

    Its class is called without arguments; then it has `settings`, with every declared option converted or else its
    default, and undeclared *options* as they are, and `proxy`. A handler that is a function, or an object, is
    called as it is, shared by all proxies. *sources* says where an option's value came from.

    Raises `OptionError` for an option's value that does not fit, and `PluginError` when the class cannot be called
    without arguments or does not take the attributes.
    """
    owner = f"{plugin.kind} {plugin.name!r}"
    given = _converted(plugin, options, owner, sources or {})
    if not inspect.isclass(plugin.target):
        return functools.partial(plugin.target)  # an object of its own, so that nothing is written on a shared one
    try:
        made = plugin.target()
        _equip(made, plugin, given, proxy)
    except Exception as error:  # the plugin's own code runs here and may raise anything
        where = f"{plugin.target.__module__}.{plugin.target.__qualname__}"
        raise PluginError(f"{owner} ({where}) cannot be made: {type(error).__name__}: {error}") from error
    return made


def _converted(plugin: Plugin, options: Mapping[str, Any], owner: str, sources: Mapping[str, str]) -> dict[str, Any]:
    known = {declaration.name: declaration for declaration in plugin.declarations}
    return {
        name: known[name].convert(value, owner=owner, source=sources.get(name)) if name in known else value
        for name, value in options.items()
    }


def _equip(made: Any, plugin: Plugin, given: dict[str, Any], proxy: ProxyView) -> None:
    """Give *made* its attributes; *given* goes through its own ``update_settings`` where it has one."""
    defaults = {declaration.name: declaration.default for declaration in plugin.declarations}
    made.settings = {**defaults, **(getattr(made, "settings", None) or {})}
    made.proxy = proxy
    getattr(made, "update_settings", made.settings.update)(given)
