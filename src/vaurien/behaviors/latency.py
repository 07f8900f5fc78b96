"""Delay every chunk, with jitter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from vaurien.behaviors._end import delay_end
from vaurien.hooks import Behavior, Link
from vaurien.options import Milliseconds, Option, Ratio

_SHAPE = 3.0
"""Of the Pareto distribution: heavy-tailed, with a finite variance."""

# How far from *latency* the point is that a share *tail* of all delays exceeds, in units of *jitter*.
_QUANTILES: Mapping[str, Callable[[float], float]] = {
    "uniform": lambda tail: 1.0 - 2.0 * tail,
    "exponential": lambda tail: -math.log(tail),
    "pareto": lambda tail: (_SHAPE - 1.0) * (tail ** (-1.0 / _SHAPE) - 1.0),
}


class _Normal:
    """The last standard normal *number* of a direction."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number: float | None = None


class Latency(Behavior, frozen=True):
    """Let every chunk leave *latency* milliseconds after it arrived, give or take *jitter*.

    Both peers see a longer way between them: bytes come late, complete and in order, and so does the end of the stream,
    which is drawn a delay like any chunk (Toxiproxy passes it on at once). Resets are not delayed. Throughput is not
    limited: chunks are under way together, up to 32 MiB in each direction. A chunk that is drawn a shorter delay than
    the one before it does not overtake it. When the fault is removed, all that is under way arrives at once.

    What *jitter* is depends on the *distribution*. ``uniform``: the delay is at most that much longer or shorter, as in
    Toxiproxy. ``normal``: it is the standard deviation. ``exponential`` and ``pareto`` (Lomax, of shape 3: rarely, but
    then much longer): the mean of what is added to *latency*. ``constant``: it is not used. Delays below 0 are 0. With
    a *correlation* above 0 each delay resembles the one before; the distribution of all of them stays what it is.
    """

    latency: Annotated[Milliseconds, Option("The delay, without the jitter")] = 0.0
    jitter: Annotated[Milliseconds, Option("How much delays differ")] = 0.0
    distribution: Annotated[
        Literal["uniform", "normal", "pareto", "exponential", "constant"], Option("How delays are distributed")
    ] = "uniform"
    correlation: Annotated[Ratio, Option("How much a delay resembles the one before it, from 0 to 1")] = 0.0

    def why_idle(self) -> str:
        return "" if self.latency or self.jitter else "latency and jitter are 0"

    @property
    def fixed_delay(self) -> float | None:
        """The latency, where it has no jitter."""
        return None if self._differs else self.latency / 1000 or None

    @property
    def _differs(self) -> bool:
        """Whether one delay differs from another."""
        return self.jitter > 0 and self.distribution != "constant"

    async def on_data(self, link: Link, data: bytes) -> None:
        """Let it leave later."""
        await link.send(data, after=self._delay(link))

    async def on_eof(self, link: Link) -> None:
        """Let the end leave later, too."""
        await delay_end(link, self._delay(link))

    def _delay(self, link: Link) -> float:
        """Seconds that what is at hand takes."""
        return max(0.0, self.latency + self._deviation(link)) / 1000

    def _deviation(self, link: Link) -> float:
        """Milliseconds more, or less, than *latency* this time."""
        if not self._differs:
            return 0.0
        normal = self._normal(link)
        if self.distribution == "normal":
            return self.jitter * normal
        return self.jitter * _QUANTILES[self.distribution](0.5 * math.erfc(normal / math.sqrt(2)))

    def _normal(self, link: Link) -> float:
        """A standard normal number that correlates with the one before it, as an AR(1) process does."""
        before = link.state(self, _Normal)
        fresh = link.random.gauss(0.0, 1.0)
        if before.number is not None:
            fresh = self.correlation * before.number + math.sqrt(1 - self.correlation**2) * fresh
        before.number = fresh
        return fresh
