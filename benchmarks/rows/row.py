"""A row of the benchmark, and what is asked of its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from benchmarks.contestants import HAPROXY_ALONE, VAURIEN, Contestant, Kind
from benchmarks.measures import Figures, Measure

Round = Mapping[str, Figures]
"""The figures of one round, by the contestant's name."""

Value = Callable[[Round], float]


class Target(msgspec.Struct, frozen=True):
    """A derived figure of each round, and at least (or at most) how much their median should be.

    With *always* each of them should. *who* tells apart what is the same figure of several contestants.
    """

    who: Kind
    title: str
    value: Value
    limit: float
    at_least: bool = True
    unit: str = ""
    always: bool = False

    def met(self, value: float) -> bool:
        """Whether *value* is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit


class Row(msgspec.Struct, frozen=True):
    """One measurement of several contestants.

    It takes part in the first *rounds* rounds, or in all. *missing* gives a reason when it cannot be made.
    """

    key: str
    title: str
    group: str
    contestants: Sequence[Contestant]
    measure: Measure
    targets: Sequence[Target] = ()
    rounds: int | None = None
    missing: Callable[[], str | None] = lambda: None


def of(contestant: Contestant, figure: str) -> Value:
    """The *figure* of *contestant*."""
    return lambda figures: figures[str(contestant)][figure]


def ratio(contestant: Contestant, against: Contestant, figure: str) -> Value:
    """The *figure* of *contestant*, divided by that of *against*."""
    return lambda figures: figures[str(contestant)][figure] / figures[str(against)][figure]


def at_most(limit: float, unit: str, figure: str, contestants: Iterable[Contestant]) -> list[Target]:
    """The same for each: *figure* is not above *limit*."""
    return [Target(one.kind, figure, of(one, figure), limit, False, unit) for one in contestants]


def against_haproxy(figure: str, limit: float, *, at_least: bool = True) -> list[Target]:
    """Vaurien's *figure* in each loop, as a ratio to HAProxy's."""
    title = f"{figure} / {HAPROXY_ALONE}"
    return [Target(one.kind, title, ratio(one, HAPROXY_ALONE, figure), limit, at_least) for one in VAURIEN]
