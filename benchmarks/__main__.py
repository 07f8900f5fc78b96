"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import resource
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, rounds, rows
from benchmarks.backends import backends
from benchmarks.errors import BenchmarkError
from benchmarks.measures import FULL, QUICK, Effort
from benchmarks.processes import ROOT, end_in_order
from benchmarks.report import Report
from benchmarks.rows.row import Row

DESCRIPTORS = 20_100
"""Open files that `measures.IDLE` connections need in a proxy, with room to spare."""

RESULTS = ROOT / "benchmarks" / "results"


def measured(chosen: Sequence[Row], count: int, effort: Effort, command: str) -> Report:
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
    command = shlex.join(["python", "-m", "benchmarks", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        chosen = rows.chosen(given.rows.split(","))
        report = measured(chosen, given.rounds or (1 if given.quick else 5), QUICK if given.quick else FULL, command)
    except (BenchmarkError, ValueError) as error:
        _say(f"benchmarks: {error}")
        return 1
    print(report.tables())
    path = given.json or (None if given.quick or len(chosen) < len(rows.ROWS) else _new(report.date[:10]))
    if path:
        path.write_bytes(report.json())
        _say(f"written to {path}; `python -m benchmarks.page` brings it into the docs")
    return 0


def _new(name: str) -> Path:
    """A file that is not there yet: former runs of the same day are kept."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for one in names if not (path := RESULTS / f"{one}.json").exists())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Vaurien's speed, as ratios to HAProxy's."
    )
    parser.add_argument("--rounds", type=int, help="how often everything is measured (5; 1 with --quick)")
    parser.add_argument("--rows", default="all", help="keys or groups of rows, such as asked,exact or redis,http (all)")
    parser.add_argument(
        "--json", type=Path, help="where to write all figures; a whole run goes to benchmarks/results/DATE.json"
    )
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
    end_in_order()
    sys.exit(main())
