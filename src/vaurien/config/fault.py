r"""A fault as text, and as a table: ``latency latency=100 jitter=20 stream=downstream probability=0.3 ttl=30s``.

The behavior's name comes first, then what it is told, each as ``name=value``: its own options, the fields of a fault
(``name``, ``stream``, ``probability``, ``scope``, ``ttl``, ``expect_hits``, ``enabled``), those of its window
(``skip``, ``count``, ``every``, ``for``), and ``match.FIELD=PATTERN``. A value with spaces is quoted; a list has
commas between its items, and a comma of an item is written ``\,``. A table in TOML has the same names, so
``match.path=glob:/api/*`` is ``match.path = "glob:/api/*"`` there, and the behavior's name is its key ``behavior``.
In the environment and in ini files each line is a fault.

An option of a plugin that is called as a field is written with ``options.`` before its name.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from vaurien import options, plugins
from vaurien.config.layers import Given, converted
from vaurien.errors import OptionError, UnknownName
from vaurien.hooks import Behavior
from vaurien.model import Fault, Window
from vaurien.options import Declaration

BEHAVIOR = "behavior"

_FIELDS = ("name", "stream", "probability", "scope", "ttl", "expect_hits", "enabled")
_OF_FAULT: Mapping[str, Declaration] = {
    declaration.name: declaration for declaration in options.describe(Fault) if declaration.name in _FIELDS
}
_OF_WINDOW: Mapping[str, Declaration] = {
    "for" if declaration.name == "seconds" else declaration.name: declaration
    for declaration in options.describe(Window)
}
FIELDS = (*_OF_FAULT, *_OF_WINDOW)
"""What every fault can be told, besides `match` and the options of its behavior."""


def declarations_of_faults() -> tuple[Declaration, ...]:
    """What every fault can be told, by its spelling in a table; those of its window too."""
    window = (msgspec.structs.replace(one, name=name) for name, one in _OF_WINDOW.items())
    return (*_OF_FAULT.values(), *window)


_MATCH, _OPTIONS = "match.", "options."


def parse(text: str, source: str | None = None) -> Fault:
    """The fault that *text* stands for. Raises `UnknownName` and `OptionError`, which name *source*."""
    words = _words(text, source)
    behavior, values = words[0], {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise OptionError(f"fault {behavior!r}", word, "name=value, such as probability=0.3", source)
        if name in values:
            raise OptionError(f"fault {behavior!r} option {name}", value, "it once", source)
        values[name] = value
    return _Reader(behavior, lambda _: source).fault(values)


def read(table: Mapping[str, object], source: Callable[[str], str | None]) -> Fault:
    """The fault that *table* stands for; *source* says where a key of it stands. Raises as `parse` does."""
    behavior = table.get(BEHAVIOR)
    if not isinstance(behavior, str):
        raise OptionError("fault option behavior", behavior, "a behavior's name, such as latency", source(BEHAVIOR))
    rest = {name: value for name, value in table.items() if name != BEHAVIOR}
    return _Reader(behavior, source).fault(dict(_flat(rest)))


def text(fault: Fault, *, units: bool = False) -> str:
    """*fault* as `parse` takes it: what is not given is as it would be anyway. With *units*, numbers have theirs."""
    suffixes = _suffixes(fault.behavior) if units else {}
    words = [fault.behavior]
    for name, value in _given(fault):
        suffix = suffixes.get(name, "") if isinstance(value, int | float) and not isinstance(value, bool) else ""
        words.append(f"{name}={shlex.quote(_shown(value) + suffix)}")
    return " ".join(words)


def _suffixes(behavior: str) -> dict[str, str]:
    """The suffix of the unit in which each number of a fault of *behavior* is read."""
    declarations = (*plugins.find(behavior, "behavior", "handler").declarations, *declarations_of_faults())
    return {one.name: _SUFFIX[one.unit] for one in declarations if one.unit}


_SUFFIX = {"seconds": "s", "milliseconds": "ms", "microseconds": "us", "bytes": "B"}


def without_effect(fault: Fault) -> str:
    """Why *fault* changes nothing, whatever passes; empty if it may."""
    plugin = plugins.find(fault.behavior, "behavior", "handler")
    if not fault.enabled:
        return "it is switched off"
    if fault.probability == 0:
        return "its probability is 0"
    if fault.window.count == 0:
        return "its window takes 0 occasions"
    if plugin.legacy:
        return ""
    made: Behavior = options.build(plugin.target, fault.options, owner=f"behavior {fault.behavior!r}")
    return made.why_idle()


def _words(text: str, source: str | None) -> list[str]:
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        words = list(lexer)
    except ValueError:
        raise OptionError("fault", text, "a closing quote", source) from None
    if not words or "=" in words[0]:
        raise OptionError("fault", text, "a behavior's name first, such as: latency latency=100", source)
    return words


_TABLES = ("window", "match", "options")
"""Fields of a fault that are tables, and may be empty."""


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The values of *table* by dotted name."""
    for name, value in table.items():
        if isinstance(value, Mapping) and (value or name in _TABLES):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


class _Reader:
    """Makes a fault of *behavior*; *source* says where a name stands."""

    def __init__(self, behavior: str, source: Callable[[str], str | None]) -> None:
        self._behavior, self._source = behavior, source
        self._plugin = plugins.find(behavior, "behavior", "handler", source=source(BEHAVIOR))
        self._declared = {declaration.name: declaration for declaration in self._plugin.declarations}

    def fault(self, values: Mapping[str, object]) -> Fault:
        fields: dict[str, Any] = {"name": self._behavior}
        window: dict[str, Any] = {}
        match: dict[str, str] = {}
        given: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, value in values.items():
            if name.startswith(_MATCH):
                match[name.removeprefix(_MATCH)] = str(value)
            elif name in _OF_FAULT:
                fields[name] = self._converted(_OF_FAULT[name], name, value)
            elif name in _OF_WINDOW:
                declaration = msgspec.structs.replace(_OF_WINDOW[name], name=name)
                window[_OF_WINDOW[name].name] = self._converted(declaration, name, value)
            else:
                option = self._option(name)
                given[option] = self._converted(self._declared[option], name, value, f"behavior {self._behavior!r}")
                sources[option] = self._source(name) or ""
        self._check(given, sources)
        if not fields["name"]:
            raise OptionError(
                f"fault {self._behavior!r} option name", "", "text, one character or more", self._source("name")
            )
        return Fault(behavior=self._behavior, options=given, window=Window(**window), match=match, **fields)

    def _option(self, name: str) -> str:
        """The behavior's option that *name* means."""
        option = name.removeprefix(_OPTIONS).replace("-", "_")
        if option not in self._declared:
            known = {*self._declared, *FIELDS, f"{_MATCH}FIELD"}
            raise UnknownName(f"option of fault {self._behavior!r}", name, known, self._source(name))
        return option

    def _converted(self, declaration: Declaration, name: str, value: object, owner: str | None = None) -> Any:
        return converted(declaration, Given(value, self._source(name) or ""), owner or f"fault {self._behavior!r}")

    def _check(self, given: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        """Make the behavior once: rules between its options are known to it alone."""
        if not self._plugin.legacy:
            known = {name: source for name, source in sources.items() if source}
            options.build(self._plugin.target, given, owner=f"behavior {self._behavior!r}", sources=known)


def _given(fault: Fault) -> Iterator[tuple[str, object]]:
    """What tells *fault* from one of its behavior that was told nothing."""
    plain = Fault(name=fault.behavior, behavior=fault.behavior)
    for name in _OF_FAULT:
        if getattr(fault, name) != getattr(plain, name):
            yield name, getattr(fault, name)
    for name, declaration in _OF_WINDOW.items():
        value = getattr(fault.window, declaration.name)
        if value != getattr(plain.window, declaration.name):
            yield name, value
    yield from ((f"{_MATCH}{name}", pattern) for name, pattern in fault.match.items())
    yield from ((f"{_OPTIONS}{name}" if name in FIELDS else name, value) for name, value in fault.options.items())


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return options.list_text(value) if isinstance(value, list | tuple) else str(value)
