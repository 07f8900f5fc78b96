"""``vaurien``: read the options, then run one proxy until it is told to stop.

With a command as its first word it does something else: ``vaurien run``, ``vaurien replay``, ``vaurien serve``.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence

import click

from vaurien import __version__, config
from vaurien.cli import flags, usage
from vaurien.cli.configure import BAD_INPUT, HELP, OK, configure, fail, say
from vaurien.config import Configuration, Given, Key, Layer, early_spellings
from vaurien.config.assemble import DRAWN
from vaurien.console import to_user
from vaurien.errors import VaurienError

NOBODY_READS = 1
"""The exit status when the reader of our output has gone."""

COMMANDS: Mapping[str, str] = {
    "run": "vaurien.cli.scenario",
    "replay": "vaurien.cli.replay",
    "serve": "vaurien.cli.serve.daemon",
    "mesh": "vaurien.cli.mesh",
    "forward": "vaurien.cli.forward",
    "fleet": "vaurien.cli.fleet",
    "mcp": "vaurien.cli.mcp",
    "ca": "vaurien.cli.ca",
    "check": "vaurien.cli.check_file",
    "schema": "vaurien.cli.schema",
    "completion": "vaurien.cli.completion",
}
"""First words, and the module whose function ``main`` takes what follows, and the environment; returns the status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with *arguments*, those of the process by default; returns its exit status.

    What the user got wrong is one line on standard error and status 2.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    to_user.json = _wants_json(given, os.environ)
    status: int
    try:
        if "_VAURIEN_COMPLETE" in os.environ:
            from vaurien.cli import completion

            return completion.complete(os.environ["_VAURIEN_COMPLETE"])
        if given[1:2] in (["--version"], ["-V"]) and given[0] in COMMANDS:
            status = _version()
        elif given and given[0] in COMMANDS:
            status = importlib.import_module(COMMANDS[given[0]]).main(given[1:], os.environ)
        else:
            now, spellings = early_spellings.of_arguments(given)
            for line in spellings:
                say(f"warning: {line}")
            status = run(now, os.environ)
        sys.stdout.flush()
        return status
    except VaurienError as error:
        fail(str(error))
    except click.UsageError as error:
        fail(usage.explain(error))
    except BrokenPipeError:  # `vaurien --help | head`; the interpreter's own flush at the end must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    return BAD_INPUT


def _wants_json(arguments: Sequence[str], variables: Mapping[str, str]) -> bool:
    """Whether the log is JSON on standard error, as far as is known before the options are read, which may fail."""
    given = {name: variables.get(f"VAURIEN_{name.upper()}", "") for name in ("log_format", "log_output")}
    for word, following in itertools.pairwise((*arguments, "")):
        name, equals, value = word.lstrip("-").replace("-", "_").partition("=")
        if name in given:
            given[name] = value if equals else following
    return given["log_format"] == "json" and given["log_output"] in ("", "-")


def run(
    arguments: Sequence[str],
    variables: Mapping[str, str],
    defaults: Layer = config.NONE,
    check: Callable[[Configuration], None] = lambda _: None,
) -> int:
    """Serve as *arguments* say; returns the exit status. Raises a `VaurienError` or a `click.UsageError`.

    *defaults* are those of a command, and *check* raises what it cannot serve.
    """
    if arguments and not arguments[0].startswith("-"):
        raise flags.unknown_argument(arguments[0], flags.own(), COMMANDS)
    own = flags.parse(arguments, flags.own(), others=True)
    if ("command", "version") in own:
        return _version()
    if ("command", "help") in own:
        from vaurien.cli import help

        found = config.collect(own, variables, own.get(("command", "config")))
        print(help.text(found.catalogue, _topic(arguments)), end="")
        return OK
    configuration, given = configure(arguments, variables, defaults=defaults)
    check(configuration)
    if ("command", "show_config") in given:
        return _show(configuration, given)

    def again() -> Configuration:
        found = config.collect(own, variables, own.get(("command", "config")), defaults)
        made = found.configuration(_seeded(given, configuration))
        check(made)
        return made

    return _serve(configuration, given, again)


def _version() -> int:
    print(f"vaurien {__version__}")
    return OK


def _topic(arguments: Sequence[str]) -> Sequence[str]:
    """The words behind ``--help``."""
    place = next(place for place, word in enumerate(arguments) if word in HELP)
    return list(itertools.takewhile(lambda word: not word.startswith("-"), arguments[place + 1 :]))


def _seeded(given: Mapping[Key, Given], configuration: Configuration) -> Mapping[Key, Given]:
    """*given*, with the seed that was drawn for *configuration*, if one was: a proxy of another seed is another one."""
    if configuration.source("vaurien", "seed") != DRAWN:
        return given
    return {**given, ("vaurien", "seed"): Given(configuration.proxies[0].seed, DRAWN)}


def _show(configuration: Configuration, given: Mapping[Key, Given]) -> int:
    from vaurien.cli import show_config

    form = show_config.json if ("command", "json") in given else show_config.table
    print(form(configuration.settings))
    return OK


def _serve(configuration: Configuration, given: Mapping[Key, Given], again: Callable[[], Configuration]) -> int:
    if ("command", "json") in given:
        raise VaurienError("option --json: expected --show-config beside it")
    from vaurien.cli import runner

    runner.run(configuration, again)
    return OK
