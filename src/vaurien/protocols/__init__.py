"""Protocols: one file or package each; its name is the protocol's name."""

from __future__ import annotations

from typing import Any, TypeVar

from vaurien import framing, plugins

T = TypeVar("T")


class Protocol(framing.Protocol, frozen=True):
    """The base class of protocols, and the registry of them, as legacy plugins know it."""

    @classmethod
    def register(cls, target: T) -> T:
        """Make the class *target* known under its ``name``. Returns it, so this is a decorator too.

        It may derive from this class or be a legacy protocol. Raises `PluginError` when it is neither.
        """
        plugins.register("protocol", target)
        return target


def get_protocols() -> dict[str, Any]:
    """All protocols that are known, by name. They are classes: instances belong to a proxy."""
    return {name: get_protocol(name) for name in plugins.names("protocol")}


def get_protocol(name: str) -> Any:
    """The protocol's class called *name*. Raises `UnknownName`."""
    return plugins.find(name, "protocol").target
