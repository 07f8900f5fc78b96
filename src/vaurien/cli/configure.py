"""What every command that runs proxies begins with: its arguments, checked as a whole, as a configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

import click

from vaurien import config
from vaurien.cli import flags
from vaurien.config import NONE, Configuration, Given, Key, Layer, Sources
from vaurien.console import to_user
from vaurien.errors import OptionError
from vaurien.model import Mix, Policy

OK, BAD_INPUT = 0, 2
"""Exit statuses: done, not understood."""

HELP = frozenset({"-h", "--help"})
NOTHING = (Policy(), Policy(Mix.parse("100:dummy")))
"""Policies that suit every proxy, so that the engine need not be imported to ask."""


def configure(
    arguments: Sequence[str],
    variables: Mapping[str, str],
    more: Sequence[flags.Flag] = (),
    *,
    file: str | None = None,
    defaults: Layer = NONE,
) -> tuple[Configuration, Mapping[Key, Given]]:
    """The configuration that *arguments* ask for, checked as a whole, and what they say, flags of *more* included.

    *file* is a configuration file that was given by itself, in the place of ``--config``. *defaults* are those of a
    command: a file and the environment come before them.

    Raises a `VaurienError` or a `click.UsageError` for the first thing that is wrong.
    """
    known = [*flags.own(), *more]
    own = flags.parse(arguments, known, others=True)
    named = own.get(("command", "config"))
    if file is not None and named is not None:
        raise OptionError("option config", named.value, f"no second file beside {file!r}", named.source)
    found = config.collect(own, variables, Given(file, "") if file is not None else named, defaults)
    given = _parse(arguments, found, known)
    configuration = found.configuration(given)
    to_user.json = configuration.process.log_format == "json" and configuration.process.log_output == "-"
    if configuration.schedule.steps or any(proxy.policy not in NOTHING for proxy in configuration.proxies):
        from vaurien.cli import check

        check.policies(configuration)
    steered = configuration.http.http or configuration.http.api
    for warning in (*configuration.warnings, *(() if steered else configuration.unused)):
        say(f"warning: {warning}")
    return configuration, given


def _parse(arguments: Sequence[str], found: Sources, known: Sequence[flags.Flag]) -> dict[Key, Given]:
    plugins = flags.of_plugins(found.catalogue, arguments)
    try:
        return flags.parse(arguments, [*known, *plugins])
    except click.NoSuchOption as error:
        raise flags.unknown(_typed(error.option_name, arguments), found.catalogue, known) from None


def _typed(option: str, arguments: Sequence[str]) -> str:
    """The whole word of *option*: click takes a word behind one dash for letters, each of which is an option."""
    return next((word for word in arguments if len(option) == len("-c") and word.startswith(option)), option)


def say(message: str) -> None:
    """*message* as one line on standard error, whatever a plugin's own error has in it."""
    warns = message.startswith("warning")
    level = "WARNING" if warns else "INFO"
    if to_user.json or not coloured(sys.stderr):
        to_user(message.removeprefix("warning: ") if to_user.json else message, level)
        return
    program = click.style("vaurien:", fg="yellow" if warns else None, bold=True)
    print(program, " ".join(message.split()), file=sys.stderr)


def fail(message: str) -> None:
    """Say *message*, for which the program ends."""
    if to_user.json:
        to_user(message, "ERROR")
    else:
        say(message)


def coloured(stream: TextIO) -> bool:
    """Whether *stream* is a terminal, and its user wants colour (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
