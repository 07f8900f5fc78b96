"""``vaurien run SCENARIO.toml -- COMMAND``: proxies, a schedule, and a command that has to live with them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO

import click

from vaurien import tls
from vaurien.cli import flags, usage
from vaurien.cli.configure import HELP, OK, configure, fail, say
from vaurien.config import NONE, Configuration, Given, Key, Layer, declared
from vaurien.config.environment import CONFIG
from vaurien.config.layers import flag, variable
from vaurien.console import user_stream
from vaurien.errors import OptionError, VaurienError
from vaurien.model import AUTO
from vaurien.options import describe
from vaurien.scenario.command import CommandError
from vaurien.scenario.report import NOT_HIT, STEP_FAILED, RunReport, form

USAGE = """Usage: vaurien run [SCENARIO.toml] [OPTIONS] -- COMMAND [ARGUMENTS]

  Start the proxies of the scenario, run COMMAND, and meanwhile let faults come and go as the scenario's steps say.
  Without a scenario there is one forward proxy (HTTP and SOCKS), which opens TLS (--tls '' lets it pass through); with
  --backend ADDRESS, one before that server, on a free port. OPTIONS are those of vaurien, and

    --report FILE                           write a report (.json, .md, .xml or .html); may be given several times
    --exit-code-from command|vaurien|both   whose end the exit status is about [default: both]
    --require-hits                          fail when a fault has never hit, and say how near it came
    --quiet                                 do not say what happens

  What happens is said on standard error: addresses, each step, hits so far (on a terminal), and a summary.

  COMMAND finds the proxy in its environment: VAURIEN_ADDRESS (host:port), VAURIEN_HOST and VAURIEN_PORT, and the same
  names with _NAME behind them for the proxy called NAME. With --http, VAURIEN_URL is the interface, which vaurienctl
  and a browser can steer the run by. The scenario's [environment] may set variables of your own.
  Where there is a forward proxy (backend = "forward"), COMMAND is led through it by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY
  and JAVA_TOOL_OPTIONS. What a proxy with tls = "auto" shows, COMMAND trusts by SSL_CERT_FILE, REQUESTS_CA_BUNDLE,
  CURL_CA_BUNDLE, NODE_EXTRA_CA_CERTS and their like: COMMAND alone, and only for this run.

  Exit status: COMMAND's own; 123 when that is 0 and a step could not be played, 124 when a fault has not hit as often
  as its expect_hits or --require-hits says; 125 when the run could not begin; 126 when COMMAND cannot be started, 127
  when it is not there. With --exit-code-from command it is COMMAND's own always, with vaurien it is 0, 123 or 124,
  whatever COMMAND's is.

  For example:
    vaurien run chaos.toml --seed 7 --report report.xml -- pytest tests/
    vaurien run --fault 'http_status status=503 match.host=api.test probability=0.2' -- pytest tests/
"""

CANNOT_BEGIN = 125
"""The exit status of a run that could not begin, as of env(1) and docker-run(1)."""

QUIET = "warning"
"""The level of the log unless one is given: the command has its own output."""


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run with *arguments*, those behind ``run``; returns the exit status.

    What the user got wrong is one line on standard error, and `CANNOT_BEGIN`, which no command means by its own 2.
    """
    try:
        return _main(arguments, variables)
    except CommandError as error:
        fail(str(error))
        return error.status
    except VaurienError as error:
        fail(str(error))
    except click.UsageError as error:
        fail(usage.explain(error))
    return CANNOT_BEGIN


def _main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    ours, command = _split(arguments)
    if HELP.intersection(ours):
        print(USAGE, end="")
        return OK
    if not ours:
        raise VaurienError("run: expected a scenario or a fault first, such as: vaurien run chaos.toml -- pytest")
    if not command:
        raise VaurienError("run: expected -- and a command behind it, such as: vaurien run chaos.toml -- pytest")
    file = None if ours[0].startswith("-") else ours.pop(0)
    defaults = _without_scenario(ours, variables) if file is None else NONE
    more = [
        flags.Flag(("command", option.name), option, repeated=option.kind is list)
        for option in describe(declared.RunSection)
    ]
    configuration, given = configure(ours, variables, more, file=file, defaults=defaults)
    return _run(configuration, command, variables, given)


def _without_scenario(words: Sequence[str], variables: Mapping[str, str]) -> Layer:
    """The defaults of a run without a scenario, whose options are *words* and, of the environment, *variables*.

    None if they name a file. Otherwise a proxy on a free port: a forward proxy, which opens TLS where it can, unless
    they name a backend.
    """

    def given(name: str) -> str | None:
        typed = flags.last_value(words, flag("vaurien", name))
        return variables.get(variable("vaurien", name)) if typed is None else typed

    if flags.last_value(words, "--config") is not None or variables.get(CONFIG):
        return NONE
    made = {"proxy": "127.0.0.1:0"}
    backend = given("backend")
    if backend is None or flags.is_forward(backend):
        made |= {"backend": "forward", "protocol": "http"}
        if tls.installed():
            made["tls"] = AUTO
        elif given("tls") is None:
            say(f"warning: TLS passes through unopened: {tls.MISSING}")
    return {("vaurien", name): Given(value, "default of vaurien run") for name, value in made.items()}


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is ours, and the command behind ``--``."""
    words = list(arguments)
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


def _run(
    configuration: Configuration, command: Sequence[str], variables: Mapping[str, str], given: Mapping[Key, Given]
) -> int:
    from vaurien.cli import hubs, observers, runner
    from vaurien.engine.loop.event_loop import loop_factory
    from vaurien.scenario import environment
    from vaurien.scenario.run import run as play

    hubs.refuse_workers(configuration, "vaurien run", "which worker has a connection could not be repeated")
    environment.variables({config.name: config.listen for config in configuration.proxies}, configuration.environment)
    with contextlib.ExitStack() as closing:
        reports = [(closing.enter_context(_opened(path)), form) for path, form in _reports(given)]
        told = observers.observers(configuration, closing, QUIET)
        interface = runner.http_interface(configuration)
        if interface is not None:
            told += [interface, interface.history]
        with asyncio.Runner(loop_factory=loop_factory(configuration.process.uvloop)) as loop:
            asked = {name: ("command", name) in given for name in ("quiet", "require_hits")}
            report = loop.run(
                play(configuration, command, variables, told, user_stream(), interface=interface, **asked)
            )
        for file, written in reports:
            file.write(written(report))
    return _exit_status(report, given)


def _exit_status(report: RunReport, given: Mapping[Key, Given]) -> int:
    asked = given.get(("command", "exit_code_from"))
    played = STEP_FAILED if report.failed_steps else NOT_HIT if report.unmet else OK
    match str(asked.value) if asked is not None else "both":
        case "command":
            return report.status
        case "vaurien":
            return played
    return report.status or played


def _reports(given: Mapping[Key, Given]) -> list[tuple[str, Callable[[RunReport], str]]]:
    asked = given.get(("command", "report"))
    paths = asked.value if asked is not None and isinstance(asked.value, tuple) else ()
    return [(path, form(path, "--report")) for path in paths]


def _opened(path: str) -> IO[str]:
    """The report's file, opened before anything runs: what cannot be written is better known now."""
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        wanted = f"a file that can be written ({error.strerror})"
        raise OptionError("option report", path, wanted, "--report") from None
