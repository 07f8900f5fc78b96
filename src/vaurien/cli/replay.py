"""``vaurien replay TRACE``: run one proxy again, with the decisions of a trace in place of dice."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from vaurien.cli.configure import HELP, OK, configure
from vaurien.errors import OptionError, VaurienError

USAGE = """Usage: vaurien replay TRACE [OPTIONS]

  Run a proxy as vaurien does, with the decisions that an earlier run wrote down with --trace FILE: the same faults hit
  the same connections and exchanges, in their order, whatever the seed. OPTIONS are those of vaurien, and are to be
  those of the earlier run; without --seed, what a fault draws for itself (how long, which byte) is as it was, too.

  For example: vaurien replay trace.jsonl --config chaos.ini
"""


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run with *arguments*, those behind ``replay``; returns the exit status."""
    if HELP.intersection(arguments):
        print(USAGE, end="")
        return OK
    if not arguments or arguments[0].startswith("-"):
        raise VaurienError(
            "replay: expected a trace's file first, such as: vaurien replay trace.jsonl --config chaos.ini"
        )
    from vaurien.cli import hubs, runner
    from vaurien.engine.policy.replay import ReplayedDecisions
    from vaurien.observers import trace

    recording = trace.read(arguments[0])
    if recording.lost:
        lines = "1 line is" if recording.lost == 1 else f"{recording.lost} lines are"
        warning = (
            f"{lines} missing in {arguments[0]}: from there on the faults may hit other exchanges than in that run"
        )
        print(f"vaurien: {warning}", file=sys.stderr)
    configuration, _ = configure(["--seed", recording.seed, *arguments[1:]], variables)
    hubs.refuse_workers(configuration, "vaurien replay", "which worker has a connection cannot be repeated")
    if configuration.process.trace == arguments[0]:
        source = configuration.source("vaurien", "trace")
        raise OptionError("option trace", arguments[0], "another file than the one that is replayed", source)
    names = [config.name for config in configuration.proxies]
    runner.run(configuration, recorded={name: ReplayedDecisions(recording.decisions.get(name, ())) for name in names})
    return OK
