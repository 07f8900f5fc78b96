"""Which plugin a section speaks about.

``behavior:NAME`` and ``handler:NAME`` are two spellings of one thing, because the first release called behaviors
handlers; the word only decides which comes first when both a behavior and a handler have the name. In this order a name
means: the class that ``callable`` gives it in the file, what the mix calls so, a class named by its dotted path that
calls itself so, and what is known under it anyway. Only plugins that are asked for are imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import msgspec

from vaurien import plugins
from vaurien.config.layers import PLUGIN_WORDS
from vaurien.errors import PluginError, UnknownName, VaurienError, nearest
from vaurien.options import Declaration
from vaurien.plugins import Kind, Plugin

_KINDS: Mapping[str, tuple[Kind, ...]] = {
    "behavior": ("behavior", "handler"),
    "handler": ("handler", "behavior"),
    "protocol": ("protocol",),
}


_SECTIONS = ("vaurien", "statsd", "mesh", "schedule", "environment", "behavior:NAME", "handler:NAME", "protocol:NAME")


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A plugin and its options. *free* says that it may be given options which it does not declare."""

    plugin: Plugin
    declarations: Mapping[str, Declaration]
    free: bool = False

    @property
    def section(self) -> str:
        """The one section that stands for all spellings: the plugin's kind, and its name as a policy has it."""
        return f"{self.plugin.kind}:{self.plugin.name}"


def _entry(plugin: Plugin, free: bool = False) -> Entry:
    owner = f"{plugin.kind} {plugin.name!r}"
    try:
        declarations = {declaration.name: declaration for declaration in plugin.declarations}
    except Exception as error:  # what a plugin declares is its own code, and may be anything
        raise PluginError(f"{owner}: its options cannot be read: {type(error).__name__}: {error}") from error
    for name, declaration in declarations.items():
        if declaration.default is msgspec.NODEFAULT:
            raise PluginError(f"{owner}: its option {name!r} has no default; every option needs one")
    return Entry(plugin, declarations, free)


class Catalogue:
    """The plugins that one configuration can speak about, by section."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._brought: list[Entry] = []

    def add_callable(self, section: str, path: str, source: str) -> None:
        """Give the class at *path* the name that *section* has. Raises `PluginError`."""
        word, _, alias = section.partition(":")
        kinds = _KINDS["behavior" if word == "handler" else word]
        plugin = plugins.adopt(path, alias, *kinds, source=source)
        if plugins.find(alias, *kinds).target is not plugin.target:  # a built-in has the name; the path is unmistakable
            plugin = msgspec.structs.replace(plugin, name=path)
        entry = self._add(section, _entry(plugin, free=plugin.kind == "handler"))
        self._spread(word, alias, entry)
        self._brought.append(entry)

    def use(self, kind: Kind, name: str, source: str) -> None:
        """Make room for the plugin that the mix, or ``protocol``, calls *name*. Raises `UnknownName`, `PluginError`."""
        section = f"{kind}:{name}"
        if section not in self._entries:
            entry = self._add(section, _entry(plugins.find(name, *_KINDS[kind], source=source)))
            if "." in name:
                self._spread(kind, name, entry)
                self._brought.append(entry)

    def close(self) -> None:
        """Let classes that were brought along be called by their own names, where these mean nothing else yet."""
        for entry in self._brought:
            own = plugins.own_name(entry.plugin.target)
            if f"{entry.plugin.kind}:{own}" not in self._entries:
                self._spread(entry.plugin.kind, own, entry)

    def _add(self, section: str, entry: Entry) -> Entry:
        self._entries[section] = entry
        return self._entries.setdefault(entry.section, entry)

    def _spread(self, word: str, name: str, entry: Entry) -> None:
        for other in _KINDS[word]:
            self._entries.setdefault(f"{other}:{name}", entry)

    def find(self, section: str, source: str | None = None) -> Entry:
        """What *section* is about. Raises `UnknownName` with the nearest section."""
        if section not in self._entries:
            word, _, name = section.partition(":")
            if not plugins.known(name, *_KINDS.get(word, ())):
                known = [*_SECTIONS, *self.sections()]
                raise UnknownName("section", section, known if nearest(section, known) else _SECTIONS, source)
            self._add(section, _entry(plugins.find(name, *_KINDS[word], source=source)))
        return self._entries[section]

    def usable(self) -> Iterator[tuple[str, Entry]]:
        """Every section with its plugin, all of them imported; an installed plugin that does not import is left out."""
        for section in self.sections():
            with contextlib.suppress(VaurienError):
                yield section, self.find(section)

    def brought(self) -> Iterator[Entry]:
        """The plugins that were named by their path."""
        return iter(self._brought)

    def sections(self) -> list[str]:
        """Every section that `find` knows, without importing what they are about."""
        known = {f"{word}:{name}" for word in PLUGIN_WORDS for kind in _KINDS[word] for name in plugins.names(kind)}
        return sorted({*known, *self._entries})
