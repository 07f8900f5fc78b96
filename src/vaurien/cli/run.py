"""``vaurien``: read the options, then run one proxy until it is told to stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

import click

from vaurien import __version__, config
from vaurien.cli import flags
from vaurien.config import Configuration, Given, Key, Survey
from vaurien.config.assemble import DRAWN
from vaurien.errors import VaurienError

OK = 0
NOBODY_READS = 1
BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with *arguments*, those of the process by default; returns its exit status.

    What the user got wrong is one line on standard error and status 2.
    """
    try:
        status = _run(sys.argv[1:] if arguments is None else arguments, os.environ)
        sys.stdout.flush()
        return status
    except VaurienError as error:
        _say(str(error))
    except click.UsageError as error:
        _say(error.format_message())
    except BrokenPipeError:  # `vaurien --help | head`; the interpreter's own flush at the end must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    return BAD_INPUT


def _run(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    if arguments[:1] == ["serve"]:
        from vaurien.cli import daemon

        return daemon.main(arguments[1:])
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
    for warning in configuration.warnings:
        _say(f"warning: {warning}")
    if ("command", "show_config") in given:
        return _show(configuration, given)

    def again() -> Configuration:
        return config.survey(own, variables, own.get(("command", "config"))).configuration(
            _seeded(given, configuration)
        )

    return _serve(configuration, given, again)


def _seeded(given: Mapping[Key, Given], configuration: Configuration) -> Mapping[Key, Given]:
    """*given*, with the seed that was drawn for *configuration*, if one was: a proxy of another seed is another one."""
    if configuration.source("vaurien", "seed") != DRAWN:
        return given
    return {**given, ("vaurien", "seed"): Given(configuration.proxies[0].seed, DRAWN)}


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


def _serve(configuration: Configuration, given: Mapping[Key, Given], again: Callable[[], Configuration]) -> int:
    if ("command", "json") in given:
        raise VaurienError("option --json: expected --show-config beside it")
    from vaurien.cli import serve

    serve.run(configuration, again)
    return OK


def _say(message: str) -> None:
    """*message* as one line on standard error, whatever a plugin's own error has in it."""
    print("vaurien:", " ".join(message.split()), file=sys.stderr)
