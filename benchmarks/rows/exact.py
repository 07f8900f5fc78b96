"""Exactness: whether a fault does what it says, when it says it, to as many as it says."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import accuracy, measures
from benchmarks.accuracy import CONNECTIONS, SHARE, SHARERS
from benchmarks.backends import RANDOM
from benchmarks.contestants import EVERYBODY, LOOPS, Contestant, Kind, with_fault
from benchmarks.rows.row import Round, Row, Target, Value, at_most, of, ratio

GROUP = "exact"
LATENCY = 10
"""Milliseconds."""

RATES = (10, 1_000, 100_000, 500_000)
"""KB/s."""


def _late(kind: Kind, milliseconds: int = LATENCY) -> Contestant:
    return with_fault(kind, f"latency latency={milliseconds} stream=downstream")


def _above(kind: Kind, figure: str) -> Value:
    """*figure* of round trips with latency, less that latency, less the median round trip without it."""

    def value(figures: Round) -> float:
        without = figures[str(Contestant(kind))][measures.MEDIAN]
        return figures[str(_late(kind))][figure] - LATENCY - without

    return value


def _latency() -> list[Target]:
    limits = ((measures.MEDIAN, 0.3), (measures.LAST, 0.8))
    return [
        Target(loop, f"{figure}, less {LATENCY} ms and the round trip", _above(loop, figure), limit, False, "ms")
        for loop in LOOPS
        for figure, limit in limits
    ]


def _late_against_none() -> list[Target]:
    value = {loop: ratio(_late(loop, 20), Contestant(loop), measures.BANDWIDTH) for loop in LOOPS}
    return [Target(loop, f"{measures.BANDWIDTH} with latency / without", value[loop], 0.7) for loop in LOOPS]


def _limited(kind: Kind, rate: int) -> Contestant:
    return with_fault(kind, f"bandwidth rate={rate} stream=downstream")


def _off(kind: Kind, rate: int) -> Value:
    """How far, in percent, the rate is from what it should be, in either direction."""
    asked = rate / 1000
    return lambda figures: 100 * abs(figures[str(_limited(kind, rate))][measures.BANDWIDTH] / asked - 1)


_SHARERS = [with_fault(loop, "bandwidth rate=20000 shared=proxy stream=downstream") for loop in LOOPS]
_DRAWN = [with_fault(loop, f"reset_peer probability={SHARE}") for loop in LOOPS]
_SERVED = [Contestant(loop, "with its HTTP interface") for loop in LOOPS]


def _timed(key: str, title: str, measure: measures.Measure, fault: str) -> Row:
    contestants = [with_fault(loop, fault) for loop in LOOPS]
    return Row(key, title, GROUP, contestants, measure, at_most(5.0, "ms", accuracy.WORST, contestants))


EXACT: Sequence[Row] = (
    Row(
        "latency",
        f"round trip of one client, and with {LATENCY} ms latency to the client",
        GROUP,
        [*EVERYBODY, *map(_late, LOOPS)],
        measures.latency,
        _latency(),
    ),
    Row(
        "late-stream",
        "one stream to the client, and with 20 ms latency",
        GROUP,
        [one for loop in LOOPS for one in (Contestant(loop), _late(loop, 20))],
        measures.bulk(to_backend=False),
        _late_against_none(),
    ),
    Row(
        "bandwidth",
        "rate of a limited stream to the client",
        GROUP,
        [_limited(loop, rate) for loop in LOOPS for rate in RATES],
        accuracy.limited,
        [
            Target(loop, f"{rate / 1000:g} MB/s: off by", _off(loop, rate), 2.0, False, "%")
            for loop in LOOPS
            for rate in RATES
        ],
    ),
    Row(
        "shared",
        f"{SHARERS} streams that share 20 MB/s",
        GROUP,
        _SHARERS,
        accuracy.shared,
        at_most(10.0, "%", accuracy.UNFAIR, _SHARERS),
    ),
    _timed(
        "limit-time",
        "limit_time, 100 ms, on a stream",
        accuracy.ended_after(100, streaming=True),
        "limit_time after=100",
    ),
    _timed("timeout", "timeout, 100 ms, on a silent connection", accuracy.ended_after(100), "timeout timeout=100"),
    _timed("slow-close", "slow_close, 100 ms", accuracy.closed_after(100), "slow_close delay=100 stream=upstream"),
    Row(
        "share",
        f"{CONNECTIONS} connections, of which a fifth is reset",
        GROUP,
        _DRAWN,
        accuracy.drawn,
        [
            target
            for one in _DRAWN
            for target in (
                Target(one.kind, accuracy.HIT, of(one, accuracy.HIT), 17.0, True, "%"),
                Target(one.kind, accuracy.HIT, of(one, accuracy.HIT), 23.0, False, "%"),
            )
        ],
    ),
    Row(
        "removal",
        f"{RANDOM // 1_000_000} MB while faults come and go",
        GROUP,
        _SERVED,
        accuracy.removal,
        [Target(one.kind, accuracy.WRONG, of(one, accuracy.WRONG), 0.0, False, always=True) for one in _SERVED],
    ),
)
