"""Flags from declarations: what click needs to know about the options of ``vaurien`` and of its plugins.

Flags take text and leave its meaning to the configuration, which knows what is expected and says so in the same words
for all sources. Dots, underscores and dashes in a flag are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from vaurien.config import Given, Key, declared
from vaurien.config.catalogue import Catalogue, Entry
from vaurien.config.layers import PLUGIN_WORDS, flag
from vaurien.errors import UnknownName, VaurienError, nearest
from vaurien.options import Declaration, describe

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


_OF_PLUGINS = tuple(f"--{word}-" for word in PLUGIN_WORDS)
"""What the flags of plugins begin with."""

_SHORT: Mapping[Key, list[str]] = {("command", "help"): ["-h"], ("command", "version"): ["-V"]}


class Flag(click.Option):
    """The flag of one option; *key* is the option's section and name.

    A list may be given by several flags, or by one with commas. *repeated*: each flag is one text, commas and all.
    """

    def __init__(self, key: Key, declaration: Declaration, *, repeated: bool = False) -> None:
        self.key, self.declaration = key, declaration
        self.complete: Callable[[Key, Declaration, str], list[CompletionItem]] | None = None
        """Finds what may follow the flag."""
        spelling = flag(*key)
        if declaration.kind is bool and key[0] != "command":
            spelling = f"{spelling}/--no-{spelling.removeprefix('--')}"
        short = _SHORT.get(key, [])
        name = "flag" + re.sub(r"\W", "_", flag(*key))  # click wants a Python name for each parameter
        about = declaration.help or None
        self._texts = repeated
        several, switch = repeated or declaration.kind is list, declaration.kind is bool
        super().__init__([name, spelling, *short], default=None, is_flag=switch, multiple=several, help=about)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What may follow the flag, if `vaurien.cli.completion` has said how to find it."""
        return self.complete(self.key, self.declaration, incomplete) if self.complete is not None else []

    def given(self, value: object) -> Given:
        """What was typed, and as which flag. Raises `OptionError` for a choice that a command does not have."""
        source = self.secondary_opts[0] if value is False else self.opts[0]
        if self.key[0] == "command" and self.declaration.choices:
            value = self.declaration.convert(value, source=source)
        if isinstance(value, tuple) and not self._texts:
            value = ",".join(map(str, value))  # as a list is written behind one flag
        return Given(value, source, value)


def own() -> list[Flag]:
    """The flags of ``vaurien`` itself."""
    groups = [*declared.GROUPS, declared.Group("command", declared.CommandSection)]
    return [
        Flag((group.section, option.name), option, repeated=group.repeated)
        for group in groups
        for option in describe(group.struct)
    ]


def of_plugins(catalogue: Catalogue, arguments: Iterable[str]) -> list[Flag]:
    """The flags of the plugins that *arguments* speak about by a flag; other plugins are not imported.

    When two plugins lay claim to a flag, the first by name has it.
    """
    typed = [_plain(argument.partition("=")[0]).replace("--no-", "--", 1) for argument in arguments]
    if not any(word.startswith(_OF_PLUGINS) for word in typed):
        return []  # as at most starts: what looks for installed plugins takes as long to import as asyncio
    about = [section for section in catalogue.sections() if any(word.startswith(flag(section, "")) for word in typed)]
    return list(_made((section, catalogue.find(section)) for section in about))


def of_all_plugins(catalogue: Catalogue) -> list[Flag]:
    """The flags of all plugins, for a shell that completes them; all of them are imported."""
    return list(_made(catalogue.usable()))


def _made(entries: Iterable[tuple[str, Entry]]) -> Iterator[Flag]:
    seen: set[str] = set()
    for section, entry in entries:
        for option in entry.declarations.values():
            made = Flag((section, option.name), option)
            if made.opts[0] not in seen:
                seen.update(made.opts)
                yield made


def parse(arguments: Sequence[str], flags: Sequence[Flag], *, others: bool = False) -> dict[Key, Given]:
    """What *arguments* say by *flags*; with *others*, flags that are not among them are passed over.

    Raises `VaurienError` for an argument that belongs to no flag, and click's own errors.
    """
    settings = {"token_normalize_func": _plain, "ignore_unknown_options": others, "allow_extra_args": True}
    command = click.Command("vaurien", settings, params=list(flags), add_help_option=False)
    try:
        context = command.make_context("vaurien", list(arguments))
    except click.UsageError as error:
        word = next((word for word in arguments if word.startswith("--http=")), None)
        if word is not None and isinstance(error, click.BadOptionUsage) and error.option_name == "--http":
            raise _http_with(word.partition("=")[2]) from None
        error.ctx = error.ctx or click.Context(command)  # for what `vaurien.cli.usage` says about it
        raise
    if context.args and not others:
        unknown_word = unknown_argument(context.args[0], flags)
        known_word = isinstance(unknown_word, UnknownName)  # a flag or a command, but for its dashes or a letter
        raise unknown_word if known_word else _value_of_switch(context.args[0], arguments, flags) or unknown_word
    values = {made.key: (made, context.params.get(made.name or "")) for made in flags}
    return {key: made.given(value) for key, (made, value) in values.items() if value not in (None, ())}


def _value_of_switch(typed: str, arguments: Sequence[str], flags: Iterable[Flag]) -> VaurienError | None:
    """The error for a word behind a flag that takes no value, as ``--http localhost:8090``; ``None`` for another."""
    place = list(arguments).index(typed) if typed in arguments else 0
    before = arguments[place - 1] if place else ""
    switch = next((made for made in flags if made.is_flag and before in (*made.opts, *made.secondary_opts)), None)
    if switch is None:
        return None
    if switch.key == ("vaurien", "http"):
        return _http_with(typed)
    return VaurienError(f"unexpected {typed!r} behind {before}, which takes no value; expected {before} alone")


def _http_with(value: str) -> VaurienError:
    """The error for ``--http`` with a *value*, which may be meant as the port or the address of the interface."""
    host, _, port = value.rpartition(":")
    right = f"--http-port {port}, or --api {host or 'localhost'}:{port}" if port.isdecimal() else "--http-port PORT"
    return VaurienError(f"--http takes no value, and has {value!r}; expected --http {right}")


def unknown(typed: str, catalogue: Catalogue, flags: Iterable[Flag]) -> VaurienError:
    """The error for a flag that does not exist, with the nearest of *flags* and those of all plugins."""
    known = [spelling for made in [*flags, *_made(catalogue.usable())] for spelling in made.opts]
    of_plugin = next((start for start in _OF_PLUGINS if typed.startswith(start)), None)
    if of_plugin is not None:
        rest = {one.removeprefix(of_plugin) for one in known if one.startswith(of_plugin)}
        near = nearest(typed.removeprefix(of_plugin), rest, _SURE)
        if near is None:
            what = of_plugin.strip("-")
            wanted = (
                f"{of_plugin}NAME-OPTION, of a {what} that comes with Vaurien or is in use (vaurien --help {what}s)"
            )
            return VaurienError(f"unknown option {typed!r}; expected {wanted}")
        return UnknownName("option", typed, [of_plugin + near])
    if len(typed) > len("-c") and nearest(typed, known):
        return UnknownName("option", typed, known)
    return _unknown("option", typed)


def unknown_argument(typed: str, flags: Iterable[Flag], others: Iterable[str] = ()) -> VaurienError:
    """The error for a word that belongs to no flag, with the nearest of *flags*, and of *others*."""
    bare = {made.opts[0].removeprefix("--"): made.opts[0] for made in flags}
    command, forgotten = nearest(typed, others, _SURE), nearest(typed, bare, _SURE)
    if command is not None or forgotten is not None:
        return UnknownName("argument", typed, [command or bare[str(forgotten)]])
    return _unknown("argument", typed)


_OF_PLUGINS = ("--behavior-", "--handler-", "--protocol-")
_SURE = 0.65
"""How much a word is like another one that was meant."""


def last_value(words: Sequence[str], option: str) -> str | None:
    """What *words* of a command line give to *option*, the last time; ``None``: they do not have it."""
    found = None
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == option:
            found = value if equals else following
    return found


def is_forward(backend: str) -> bool:
    """Whether *backend* is that of a forward proxy, with or without what is special behind a ``?``."""
    return backend.partition("?")[0] == "forward"


def _unknown(kind: str, typed: str) -> VaurienError:
    """Everything that exists would be too much for a line."""
    return VaurienError(f"unknown {kind} {typed!r}; options begin with --, and vaurien --help lists them")


def _plain(text: str) -> str:
    return text.replace("_", "-").replace(".", "-")
