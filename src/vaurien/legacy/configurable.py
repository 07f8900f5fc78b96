"""What the base classes of legacy plugins have in common: settings, and `option` to read them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from vaurien.options import declared

BUFFER = 8124
"""Bytes read at once where a plugin does not say: the default of the option ``buffer`` in Mozilla's Vaurien."""


class Configurable:
    """A plugin with ``options = {name: (description, type, default[, choices])}`` and settings for them.

    *settings* are copied. `proxy` is set for the plugin before it is called the first time (see `instances.ProxyView`).
    """

    name: str = ""
    options: dict[str, tuple[Any, ...]] = {}
    logger = logging.getLogger("vaurien")

    def __init__(self, settings: Mapping[str, Any] | None = None, proxy: Any = None) -> None:
        self.settings: dict[str, Any] = dict(settings or {})
        self.proxy = proxy

    def update_settings(self, settings: Mapping[str, Any]) -> None:
        """Take over *settings*; others stay as they are."""
        self.settings.update(settings)

    def option(self, name: str) -> Any:
        """The value of option *name* as the type it declares; its default when it is not set.

        Booleans may be set as text: y, yes, 1, on, true. A subclass that declares *options* of its own keeps those of
        its bases. An option that is not declared is returned as it was set. Raises KeyError when it was not set, and
        `OptionError` when its value does not fit.
        """
        entry = self._declared(name)
        if entry is None:
            return self.settings[name]
        value = self.settings.get(name, entry[2])
        return value if isinstance(value, entry[1]) else declared({name: entry})[0].convert(value, owner=self.name)

    def _declared(self, name: str) -> tuple[Any, ...] | None:
        if name in self.options:
            return self.options[name]
        inherited = (vars(base).get("options") or {} for base in type(self).__mro__)
        return next((options[name] for options in inherited if name in options), None)

    def _buffer(self) -> int:
        try:
            return int(self.option("buffer"))
        except KeyError:
            return BUFFER
