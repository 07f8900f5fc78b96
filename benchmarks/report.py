"""A run as JSON, and as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from benchmarks.contestants import HAPROXY_ALONE
from benchmarks.rounds import Derived, Result


class Report(msgspec.Struct, frozen=True):
    """A run: when, with which command, where, how many rounds, and what came of it.

    *load* is the machine's load average when the run began: above 0 somebody else was busy too.
    """

    date: str
    command: str
    machine: Mapping[str, str]
    load: float
    rounds: int
    results: Sequence[Result]

    def json(self) -> bytes:
        """For a file."""
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Report:
        """What `json` wrote. Raises `msgspec.ValidationError` when it did not."""
        return msgspec.json.decode(data, type=cls)

    def tables(self) -> str:
        """For people."""
        return "\n".join([*self._head(), *_targets(self.results), *_figures(self.results), *_left_out(self.results)])

    def _head(self) -> Iterator[str]:
        yield f"{self.date}, `{self.command}`, medians of {self.rounds} interleaved rounds"
        yield f"Load average at the start {self.load:.2f}. " + ", ".join(f"{k}: {v}" for k, v in self.machine.items())


def _targets(results: Iterable[Result]) -> Iterator[str]:
    rows = [_target(result.title, target) for result in results for target in result.targets]
    if rows:
        yield ""
        yield from table(["load", "figure", "of", "median", "lowest to highest", "asked", "met"], rows)


def _target(load: str, target: Derived) -> list[str]:
    figures = [figure(target.median, target.unit), f"{figure(target.low)} to {figure(target.high)}"]
    return [load, target.title, target.who, *figures, target.asked, "yes" if target.met else "no"]


def _figures(results: Iterable[Result]) -> Iterator[str]:
    for result in results:
        if result.medians:
            yield f"\n{result.title}\n"
            yield from _contestants(result.medians)


def _contestants(medians: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Each figure with its ratio to HAProxy's median, where HAProxy took part."""
    names = list(dict.fromkeys(name for figures in medians.values() for name in figures))
    compared = medians.get(str(HAPROXY_ALONE), {})
    header = ["", *(column for name in names for column in (name, *(["/ HAProxy"] if name in compared else [])))]
    rows = []
    for contestant, figures in medians.items():
        row = [contestant]
        for name in names:
            value = figures.get(name)
            row.append("" if value is None else figure(value))
            if name in compared:
                row.append("" if value is None else f"{value / compared[name]:.2f}")
        rows.append(row)
    yield from table(header, rows)


def _left_out(results: Iterable[Result]) -> Iterator[str]:
    for result in results:
        if result.left_out is not None:
            yield f"\nLeft out: {result.title}: {result.left_out}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    for line in lines:
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        yield f"| {' | '.join(cells)} |"


def figure(value: float, unit: str = "") -> str:
    """*value* with three digits, or as many as it has before the point."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".replace(",", " ").strip()
