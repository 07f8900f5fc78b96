"""The run: in each round every row, in each row every contestant, one after the other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from benchmarks.backends import Backends
from benchmarks.contestants import Contestant
from benchmarks.errors import BenchmarkError
from benchmarks.measures import Effort
from benchmarks.rows.row import Round, Row, Target

Say = Callable[[str], None]


class Derived(msgspec.Struct, frozen=True):
    """A target's figure: the median over the rounds, its range, what is asked, and whether that is met."""

    title: str
    median: float
    low: float
    high: float
    unit: str
    asked: str
    met: bool
    who: str = ""


class Result(msgspec.Struct, frozen=True):
    """A row's outcome: the *medians* and the *rounds* behind them, by contestant; or why it was left out."""

    key: str
    title: str
    group: str = ""
    medians: Mapping[str, Mapping[str, float]] = {}
    rounds: Sequence[Round] = ()
    targets: Sequence[Derived] = ()
    left_out: str | None = None


def run(rows: Sequence[Row], backends: Backends, rounds: int, effort: Effort, say: Say) -> list[Result]:
    """Measure *rows* in *rounds* rounds; *say* is told what happens.

    A row that fails is left out from then on. After Ctrl-C there are the results of what was measured before.
    """
    left_out = {row.key: reason for row in rows if (reason := row.missing()) is not None}
    measured: dict[str, list[Round]] = {row.key: [] for row in rows}
    try:
        for number in range(rounds):
            for row in rows:
                if row.key not in left_out and number < (row.rounds or rounds):
                    _measure(row, backends, number, effort, say, measured[row.key], left_out)
    except KeyboardInterrupt:
        say("interrupted")
        left_out |= {key: "interrupted before its first round" for key, done in measured.items() if not done}
    return [_result(row, measured[row.key], left_out.get(row.key)) for row in rows]


def _measure(
    row: Row,
    backends: Backends,
    number: int,
    effort: Effort,
    say: Say,
    measured: list[Round],
    left_out: dict[str, str],
) -> None:
    try:
        measured.append(_round(row, backends, number, effort, say))
    except (BenchmarkError, OSError) as error:
        left_out[row.key] = f"round {number + 1}: {error}"
        say(f"{row.key}: {left_out[row.key]}")


def _round(row: Row, backends: Backends, number: int, effort: Effort, say: Say) -> Round:
    figures = {}
    for contestant in _rotated(row.contestants, number):
        figures[str(contestant)] = row.measure(backends, contestant, effort)
        say(f"round {number + 1}  {row.key:<14} {contestant!s:<24} {_brief(figures[str(contestant)])}")
    return {str(one): figures[str(one)] for one in row.contestants}


def _rotated(contestants: Sequence[Contestant], number: int) -> list[Contestant]:
    """Another one begins in each round, so that nobody always follows the same."""
    start = number % len(contestants)
    return [*contestants[start:], *contestants[:start]]


def _result(row: Row, rounds: Sequence[Round], left_out: str | None) -> Result:
    if left_out is not None:
        return Result(row.key, row.title, row.group, left_out=left_out)
    medians = {
        str(contestant): _medians([figures[str(contestant)] for figures in rounds]) for contestant in row.contestants
    }
    return Result(row.key, row.title, row.group, medians, rounds, [_derived(target, rounds) for target in row.targets])


def _medians(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in figures) for name in figures[0]}


def _derived(target: Target, rounds: Sequence[Round]) -> Derived:
    """The figure is taken within each round, where the machine was the same for all, and then its median."""
    values = [target.value(figures) for figures in rounds]
    median = statistics.median(values)
    asked = f"{'≥' if target.at_least else '≤'} {target.limit:g}"
    judged = values if target.always else [median]
    met = all(map(target.met, judged))
    return Derived(target.title, median, min(values), max(values), target.unit, asked, met, target.who)


def _brief(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.5g} {name}" for name, value in figures.items())
