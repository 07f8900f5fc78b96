"""The plugins that a configuration speaks about, with the options given to them, converted and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from vaurien import options
from vaurien.config.catalogue import Catalogue, Entry
from vaurien.config.layers import Layer, converted, is_plugin
from vaurien.errors import OptionError
from vaurien.framing import Protocol
from vaurien.hooks import Behavior, overridden
from vaurien.model import Mix, Policy, Share

OF_CONNECTIONS = frozenset({"on_client_hello", "on_tls_request", "on_connect", "on_start", "on_stop"})
"""Hooks for a fault that is there when a connection begins; the mix is drawn later, for its exchanges."""

Options: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The options given to plugins, by the section that stands for the plugin."""


class Selection:
    """The plugins in use, *protocol* and those of *mix*, and those that *layer* merely has options for.

    Raises a `VaurienError` for an option that cannot be used, by itself, beside the plugin's others, or with the
    protocol.
    """

    def __init__(self, catalogue: Catalogue, protocol: str, mix: Mix, layer: Layer) -> None:
        self._layer = layer
        self._shares = mix.shares
        self._protocol = catalogue.find(f"protocol:{protocol}")
        self._behaviors = [catalogue.find(f"behavior:{share.behavior}") for share in mix.shares]
        mentioned = [catalogue.find(section) for section, _ in layer if is_plugin(section)]
        self.entries = {entry.section: entry for entry in (self._protocol, *self._behaviors, *mentioned)}
        self.options: Options = {section: self._converted(entry) for section, entry in self.entries.items()}
        self._check()

    @property
    def protocol(self) -> tuple[str, Mapping[str, Any]]:
        """The protocol's name, and the options given to it."""
        return self._protocol.plugin.name, self.options[self._protocol.section]

    @property
    def of_records(self) -> list[str]:
        """The behaviors of the mix that act on records of TLS."""
        modern = [entry.plugin for entry in self._behaviors if not entry.plugin.legacy]
        return sorted({plugin.name for plugin in modern if plugin.target.below_tls})

    @property
    def idle(self) -> list[tuple[str, str]]:
        """The behaviors of the mix that have nothing but hooks which a share of a mix never runs, and these hooks."""
        modern = [entry.plugin for entry in self._behaviors if not entry.plugin.legacy]
        hooks = {plugin.name: overridden(plugin.target) for plugin in modern}
        return [(name, ", ".join(sorted(own))) for name, own in hooks.items() if own and own <= OF_CONNECTIONS]

    @property
    def policy(self) -> Policy:
        """The mix, each share with the options given to its behavior."""
        pairs = zip(self._shares, self._behaviors, strict=True)
        return Policy(
            Mix(tuple(Share(share.percent, entry.plugin.name, self.options[entry.section]) for share, entry in pairs))
        )

    def _converted(self, entry: Entry) -> dict[str, Any]:
        owner, declared = _owner(entry), entry.declarations
        return {
            option: converted(declared[option], given, owner) if option in declared else given.typed
            for (section, option), given in self._layer.items()
            if section == entry.section
        }

    def _check(self) -> None:
        """Make each plugin once, which checks the rules between its options; they may refuse the protocol too."""
        made = {section: self._made(entry) for section, entry in self.entries.items() if not entry.plugin.legacy}
        protocol = made.get(self._protocol.section)
        for section in {entry.section: None for entry in self._behaviors}:
            behavior = made.get(section)
            if isinstance(behavior, Behavior) and isinstance(protocol, Protocol):
                self._agree(section, behavior, protocol)

    def _made(self, entry: Entry) -> Any:
        section = entry.section
        return options.build(
            entry.plugin.target, self.options[section], owner=_owner(entry), sources=self._sources(section)
        )

    def _agree(self, section: str, behavior: Behavior, protocol: Protocol) -> None:
        try:
            behavior.check(protocol)
        except OptionError as error:
            sources = self._sources(section)
            culprits = [sources[name] for name, value in self.options[section].items() if value == error.value]
            raise OptionError(
                error.option, error.value, error.expected, ", ".join(culprits) or self._mix_source
            ) from None

    @property
    def _mix_source(self) -> str | None:
        given = self._layer.get(("vaurien", "behavior"))
        return given.source if given else None

    def _sources(self, section: str) -> dict[str, str]:
        return {option: self._layer[section, option].source for option in self.options[section]}


def _owner(entry: Entry) -> str:
    return f"{entry.plugin.kind} {entry.plugin.name!r}"
