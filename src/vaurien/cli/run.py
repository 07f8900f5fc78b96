"""``vaurien``: read the options, then run one proxy until it is told to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import click

from vaurien import __version__, config
from vaurien.cli import flags
from vaurien.config import Configuration, Given, Key, Survey
from vaurien.errors import VaurienError

OK = 0
BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with *arguments*, those of the process by default; returns its exit status.

    What the user got wrong is one line on standard error and status 2.
    """
    try:
        return _run(sys.argv[1:] if arguments is None else arguments, os.environ)
    except VaurienError as error:
        _say(str(error))
    except click.UsageError as error:
        _say(error.format_message())
    return BAD_INPUT


def _run(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    own = flags.parse(arguments, flags.own(), others=True)
    if ("command", "version") in own:
        print(f"vaurien {__version__}")
        return OK
    found = config.survey(own, variables, own.get(("command", "config")))
    if ("command", "help") in own:
        from vaurien.cli import manual

        print(manual.text(found.catalogue), end="")
        return OK
    given = _parse(arguments, found)
    configuration = found.configuration(given)
    if configuration.schedule.steps or any(proxy.policy.faults for proxy in configuration.proxies):
        from vaurien.cli import check

        check.faults(configuration)
    for warning in configuration.warnings:
        _say(f"warning: {warning}")
    return _show(configuration, given) if ("command", "show_config") in given else _serve(configuration, given)


def _parse(arguments: Sequence[str], found: Survey) -> dict[Key, Given]:
    plugins = flags.of_plugins(found.catalogue, arguments)
    try:
        return flags.parse(arguments, [*flags.own(), *plugins])
    except click.NoSuchOption as error:
        raise flags.unknown(error.option_name, found.catalogue) from None


def _show(configuration: Configuration, given: Mapping[Key, Given]) -> int:
    from vaurien.cli import provenance

    form = provenance.json if ("command", "json") in given else provenance.table
    print(form(configuration.settings))
    return OK


def _serve(configuration: Configuration, given: Mapping[Key, Given]) -> int:
    if ("command", "json") in given:
        raise VaurienError("option --json: expected --show-config beside it")
    if configuration.http.http:
        source = configuration.source("vaurien", "http")
        raise VaurienError(f"option http (from {source}): this version has no HTTP interface yet; expected no http")
    from vaurien.cli import serve

    serve.run(configuration)
    return OK


def _say(message: str) -> None:
    """*message* as one line on standard error, whatever a plugin's own error has in it."""
    print("vaurien:", " ".join(message.split()), file=sys.stderr)
