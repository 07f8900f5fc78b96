"""``vaurien run SCENARIO.toml -- COMMAND``: proxies, a schedule, and a command that has to live with them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from vaurien.cli import flags
from vaurien.cli.configure import HELP, OK, configure
from vaurien.config import Configuration, Given, Key, declared
from vaurien.errors import OptionError, VaurienError
from vaurien.options import describe
from vaurien.scenario.report import Report, form

USAGE = """Usage: vaurien run SCENARIO.toml [OPTIONS] -- COMMAND [ARGUMENTS]

  Start the proxy of the scenario, run COMMAND, and meanwhile let faults come and go as the scenario's steps say. The
  exit status is COMMAND's, or 3 when that is 0 and a step could not be played. OPTIONS are those of vaurien, and
  --report FILE (.json, .md or .xml), as often as you like.

  COMMAND finds the proxy in its environment: VAURIEN_ADDRESS (host:port), VAURIEN_HOST and VAURIEN_PORT, and the same
  names with _NAME behind them for the proxy called NAME. The scenario's [environment] may set variables of your own.

  For example: vaurien run chaos.toml --seed 7 --report report.xml -- pytest tests/
"""

QUIET = "warning"
"""What is logged if nobody says: the command has its own output."""


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run with *arguments*, those behind ``run``; returns the command's exit status, or `STEP_FAILED`."""
    ours, command = _split(arguments)
    if HELP.intersection(ours):
        print(USAGE, end="")
        return OK
    if not ours or ours[0].startswith("-"):
        raise VaurienError("run: expected a scenario's file first, such as: vaurien run chaos.toml -- pytest")
    if not command:
        raise VaurienError("run: expected -- and a command behind it, such as: vaurien run chaos.toml -- pytest")
    [report] = [flags.Flag(("command", option.name), option, repeated=True) for option in describe(declared.Run)]
    configuration, given = configure(ours[1:], variables, [report], file=ours[0])
    return _run(configuration, command, variables, given)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is ours, and the command behind ``--``."""
    words = list(arguments)
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


def _run(
    configuration: Configuration, command: Sequence[str], variables: Mapping[str, str], given: Mapping[Key, Given]
) -> int:
    from vaurien.cli import hubs, observers
    from vaurien.engine.loop.event_loop import loop_factory
    from vaurien.scenario import environment
    from vaurien.scenario.run import run as play

    hubs.refuse_workers(configuration, "vaurien run", "which worker has a connection could not be repeated")
    environment.variables({config.name: config.listen for config in configuration.proxies}, configuration.environment)
    with contextlib.ExitStack() as closing:
        reports = [(closing.enter_context(_opened(path)), form) for path, form in _reports(given)]
        told = observers.observers(configuration, closing, QUIET)
        with asyncio.Runner(loop_factory=loop_factory(configuration.process.uvloop)) as runner:
            report = runner.run(play(configuration, command, variables, told))
        for file, written in reports:
            file.write(written(report))
    return report.exit_status


def _reports(given: Mapping[Key, Given]) -> list[tuple[str, Callable[[Report], str]]]:
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
