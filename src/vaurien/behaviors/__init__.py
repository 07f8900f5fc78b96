"""Behaviors: one file each, the file's name is the behavior's name."""

from __future__ import annotations

from typing import Any, TypeVar

from vaurien import hooks, plugins

T = TypeVar("T")


class Behavior(hooks.Behavior, frozen=True):
    """The base class of behaviors, and the registry of them, as legacy plugins know it."""

    @classmethod
    def register(cls, target: T) -> T:
        """Make the class *target* known under its ``name``. Returns it, so this is a decorator too.

        It may derive from this class or be a legacy behavior. Raises `PluginError` when it is neither.
        """
        plugins.register("behavior", target)
        return target


def get_behaviors() -> dict[str, Any]:
    """All behaviors that are known, by name. They are classes: instances belong to a proxy."""
    return {name: get_behavior(name) for name in plugins.names("behavior")}


def get_behavior(name: str) -> Any:
    """The behavior's class called *name*. Raises `UnknownName`."""
    return plugins.find(name, "behavior").target
