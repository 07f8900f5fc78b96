"""Whether what a process holds grows while it works: samples, a slope, a bound."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import msgspec

WARM_UP = 0.2
"""The share of a run, at its start, in which a process may grow as it likes."""

SHARE = 0.1
"""How much of its median a figure may grow over the rest."""

LEAST: Mapping[str, float] = {"resident KB": 1024, "descriptors": 10, "tasks": 10, "threads": 1, "objects": 1000}
"""What a figure may grow in any case: they go up and down with the faults of the moment."""

AT_REST = ("descriptors", "tasks")
"""What has to be back where it was once the load is over; threads of a pool and memory of an allocator may stay."""

Figures = Mapping[str, float]
"""Name and value of what a process holds at a moment; the names are those of `LEAST`."""


class Sample(msgspec.Struct, frozen=True):
    """What a process held, *at* so many seconds after the start of the load."""

    at: float
    figures: Figures


class Drift(msgspec.Struct, frozen=True):
    """A figure before, under and after load. *growth* is its slope under load times the time it was looked at."""

    name: str
    before: float
    median: float
    highest: float
    growth: float
    allowed: float
    after: float

    @property
    def flat(self) -> bool:
        """Whether it stays where it is."""
        at_rest = self.name not in AT_REST or self.after <= self.before
        return self.growth <= self.allowed and at_rest


class Soak(msgspec.Struct, frozen=True):
    """A run of `benchmarks.soak`: *seconds* of load, while faults changed *changes* times."""

    date: str
    command: str
    vaurien: str
    load: float
    seconds: float
    changes: int
    requests: int
    samples: Sequence[Sample]
    drifts: Sequence[Drift]

    @property
    def flat(self) -> bool:
        """Whether nothing grows."""
        return all(drift.flat for drift in self.drifts)

    def json(self) -> bytes:
        """For a file."""
        return msgspec.json.format(msgspec.json.encode(self)) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Soak:
        """What `json` wrote. Raises `msgspec.ValidationError` when it did not."""
        return msgspec.json.decode(data, type=cls)


def drifts(before: Figures, samples: Sequence[Sample], after: Figures) -> list[Drift]:
    """The drift of each figure. Raises `ValueError` with fewer than four samples after the warm-up."""
    end = samples[-1].at if samples else 0.0
    warm = [sample for sample in samples if sample.at >= WARM_UP * end]
    if len(warm) < 4:
        raise ValueError(f"{len(warm)} samples after the warm-up say nothing about growth; expected four or more")
    found = []
    for name, least in LEAST.items():
        values = [sample.figures[name] for sample in warm]
        median = statistics.median(values)
        growth = slope([sample.at for sample in warm], values) * (end - warm[0].at)
        allowed = max(least, SHARE * median)
        found.append(Drift(name, before[name], median, max(values), growth, allowed, after[name]))
    return found


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """How much *values* grow in a second: the median slope between each and the one half a run later (Theil, 1950).

    A peak that passes does not change it, as it would a line of least squares.
    """
    half = len(times) // 2
    return statistics.median(
        (values[late] - values[late - half]) / (times[late] - times[late - half]) for late in range(half, len(times))
    )
