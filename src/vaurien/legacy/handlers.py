"""The registry of handlers: legacy plugins that are called with both sockets. None is built in."""

from __future__ import annotations

from typing import Any, TypeVar

from vaurien import plugins

T = TypeVar("T")


class Handler:
    """The registry of handlers, as legacy plugins know it."""

    @classmethod
    def register(cls, target: T) -> T:
        """Make the class *target* known under its ``name``. Returns it, so this is a decorator too.

        Raises `PluginError` when it has no ``__call__(self, client_sock, backend_sock, to_backend)``.
        """
        plugins.register("handler", target)
        return target


def get_handlers() -> dict[str, Any]:
    """All handlers that are known, by name. They are classes: instances belong to a proxy."""
    return {name: get_handler(name) for name in plugins.names("handler")}


def get_handler(name: str) -> Any:
    """The handler's class called *name*. Raises `UnknownName`."""
    return plugins.find(name, "handler").target
