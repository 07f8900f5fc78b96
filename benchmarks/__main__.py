"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, rounds, rows
from benchmarks.backends import backends
from benchmarks.errors import BenchmarkError
from benchmarks.measures import FULL, QUICK, Effort
from benchmarks.processes import ROOT
from benchmarks.report import Report

DESCRIPTORS = 8192
"""Open files that 1,000 connections need in a proxy and its backend, with room to spare."""

RESULTS = ROOT / "benchmarks" / "results"


def measured(chosen: Sequence[rows.Row], count: int, effort: Effort, command: str) -> Report:
    """The report of *count* rounds. Raises `BenchmarkError`; ends what it started, whatever happens."""
    _allow_descriptors()
    began = dt.datetime.now(dt.UTC)
    facts, load = machine.facts(), machine.load_average()
    with backends() as servers:
        results = rounds.run(chosen, servers, count, effort, _say)
    return Report(began.isoformat(timespec="seconds"), command, facts, load, count, results)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when it could be run, whatever its figures are."""
    given = _parser().parse_args(arguments)
    if given.show:
        print(Report.parse(given.show.read_bytes()).tables())
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwinds, as Ctrl-C does
    command = shlex.join(["python", "-m", "benchmarks", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        chosen = rows.chosen(given.rows.split(","))
        report = measured(chosen, given.rounds or (2 if given.quick else 5), QUICK if given.quick else FULL, command)
    except (BenchmarkError, ValueError) as error:
        _say(f"benchmarks: {error}")
        return 1
    path = given.json or RESULTS / f"{report.date[:10]}.json"
    path.write_bytes(report.json())
    print(report.tables())
    _say(f"written to {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Vaurien's speed, as ratios to HAProxy's."
    )
    parser.add_argument("--rounds", type=int, help="how often everything is measured (5; 2 with --quick)")
    parser.add_argument(
        "--rows", default=rows.ASKED, help="keys or groups of rows: asked, scaling, all, redis,http,..."
    )
    parser.add_argument("--json", type=Path, help="where to write all figures (benchmarks/results/DATE.json)")
    parser.add_argument("--quick", action="store_true", help="short measurements, for a look")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="print the tables of a former run, and measure nothing"
    )
    return parser


def _allow_descriptors() -> None:
    """Raise the soft limit, which programs started from here inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
