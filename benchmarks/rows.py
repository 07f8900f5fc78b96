"""What is measured and what is asked: the rows in the order they run, each with its contestants and its targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from benchmarks import measures
from benchmarks.contestants import EVERYBODY, HAPROXY_ALONE, LOOPS, NO_PROXY, VAURIEN, Contestant, Kind
from benchmarks.faults import LATENCY
from benchmarks.measures import Figures, Measure

Round = Mapping[str, Figures]
"""The figures of one round, by the contestant's name."""

ASKED, SCALING = "asked", "scaling"
_MS = 1e3


class Target(msgspec.Struct, frozen=True):
    """A derived figure of each round, and at least (or at most) how much its median should be."""

    title: str
    value: Callable[[Round], float]
    limit: float
    at_least: bool = True
    unit: str = ""

    def met(self, value: float) -> bool:
        """Whether *value* is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit


class Row(msgspec.Struct, frozen=True):
    """One measurement of several contestants. *missing* gives a reason when it cannot be made."""

    key: str
    title: str
    group: str
    contestants: Sequence[Contestant]
    measure: Measure
    targets: Sequence[Target] = ()
    missing: Callable[[], str | None] = lambda: None


def _of(contestant: Contestant, figure: str) -> Callable[[Round], float]:
    return lambda figures: figures[str(contestant)][figure]


def _ratio(contestant: Contestant, against: Contestant, figure: str) -> Callable[[Round], float]:
    return lambda figures: figures[str(contestant)][figure] / figures[str(against)][figure]


def _late(kind: Kind) -> Contestant:
    return Contestant(kind, 1, "Late", "downstream")


def _above(kind: Kind, figure: str) -> Callable[[Round], float]:
    """*figure* of round trips with `Late`, less its latency, less the median round trip without it."""

    def value(figures: Round) -> float:
        without = figures[str(Contestant(kind))][measures.MEDIAN]
        return figures[str(_late(kind))][figure] - LATENCY * _MS - without

    return value


def _against_haproxy(figure: str, limit: float, *, at_least: bool = True) -> list[Target]:
    return [
        Target(f"{contestant} / {HAPROXY_ALONE}, {figure}", _ratio(contestant, HAPROXY_ALONE, figure), limit, at_least)
        for contestant in VAURIEN
    ]


def _requests_and_cpu(limit: float) -> list[Target]:
    requests = _against_haproxy(measures.RATE, limit)
    return requests + _against_haproxy(measures.CPU_REQUEST, 1.2, at_least=False)


def _faults(*counts: int) -> list[Contestant]:
    return [Contestant(loop, count) for loop in LOOPS for count in counts]


def _faults_against_none() -> list[Target]:
    return [
        Target(f"{loop}, 5 faults / none", _ratio(Contestant(loop, 5), Contestant(loop), measures.RATE), 0.65)
        for loop in LOOPS
    ]


def _memory() -> list[Target]:
    limits = ((0, 4.0), (3, 12.0))
    wanted = [(Contestant(loop, count), limit) for loop in LOOPS for count, limit in limits]
    return [Target(f"{who}", _of(who, measures.MEMORY), limit, False, "KB") for who, limit in wanted]


def _latency() -> list[Target]:
    limits = ((measures.MEDIAN, 0.3), (measures.LAST, 0.8))
    return [
        Target(f"{loop}, {figure} above", _above(loop, figure), limit, False, "ms")
        for loop in LOOPS
        for figure, limit in limits
    ]


def _cold() -> list[Target]:
    limits = ((measures.HELP, 0.25), (measures.ACCEPT, 0.5))
    return [Target(figure, _of(VAURIEN[0], figure), limit, False, "s") for figure, limit in limits]


def _limited(kind: Kind, rate: int) -> Contestant:
    return Contestant(kind, 1, "Bandwidth", "downstream", f'{{"rate": {rate}}}')


def _off(kind: Kind, rate: int) -> Callable[[Round], float]:
    """How far, in percent, the rate is from what it should be, in either direction."""
    asked = rate / 1000
    return lambda figures: 100 * abs(figures[str(_limited(kind, rate))][measures.BANDWIDTH] / asked - 1)


_LIMITS = (10, 1_000, 100_000, 500_000)
"""KB/s."""

_LANES = [NO_PROXY, HAPROXY_ALONE, *_faults(0, 1)]

ROWS: Sequence[Row] = (
    Row("redis", "redis GET, 50 clients", ASKED, EVERYBODY, measures.redis(50), _requests_and_cpu(0.9)),
    Row(
        "http",
        "HTTP, 64 clients, keep-alive",
        ASKED,
        EVERYBODY,
        measures.http(64, keep_alive=True),
        _requests_and_cpu(0.9),
    ),
    Row(
        "bulk-up",
        "one stream to the backend",
        ASKED,
        EVERYBODY,
        measures.bulk(to_backend=True),
        _against_haproxy(measures.BANDWIDTH, 1.3),
    ),
    Row(
        "bulk-down",
        "one stream to the client",
        ASKED,
        EVERYBODY,
        measures.bulk(to_backend=False),
        _against_haproxy(measures.BANDWIDTH, 1.3),
    ),
    Row(
        "connections",
        "HTTP, 64 clients, a new connection each",
        ASKED,
        EVERYBODY,
        measures.http(64, keep_alive=False),
        _against_haproxy(measures.RATE, 0.65),
    ),
    Row(
        "no-ops",
        "redis GET, 50 clients, five no-op faults in both directions",
        ASKED,
        _faults(0, 5),
        measures.redis(50),
        _faults_against_none(),
    ),
    Row(
        "memory",
        "memory of an idle connection",
        ASKED,
        [HAPROXY_ALONE, *_faults(0, 3)],
        measures.memory,
        _memory(),
    ),
    Row(
        "latency",
        f"round trip of one client, and with {LATENCY * _MS:g} ms latency to the client",
        ASKED,
        [*EVERYBODY, *map(_late, LOOPS)],
        measures.latency,
        _latency(),
    ),
    Row(
        "cold",
        "start of the command line",
        ASKED,
        VAURIEN[:1],
        measures.cold,
        _cold(),
        measures.no_command_line,
    ),
    Row(
        "bandwidth",
        "rate of a limited stream to the client",
        ASKED,
        [_limited(loop, rate) for loop in LOOPS for rate in _LIMITS],
        measures.limited,
        [
            Target(f"{loop}, {rate:,} KB/s: off by", _off(loop, rate), 2.0, False, "%")
            for loop in LOOPS
            for rate in _LIMITS
        ],
    ),
    Row("lanes-redis", "direct and hooked lane: redis GET, 50 clients", SCALING, _LANES, measures.redis(50)),
    Row("lanes-http", "direct and hooked lane: HTTP", SCALING, _LANES, measures.http(64, keep_alive=True)),
    Row("lanes-bulk", "direct and hooked lane: one stream", SCALING, _LANES, measures.bulk(to_backend=False)),
    *(
        Row(f"clients-{clients}", f"redis GET, clients: {clients}", SCALING, EVERYBODY, measures.redis(clients))
        for clients in (1, 10, 100, 1000)
    ),
    Row("faults", "redis GET, 50 clients, no-op faults", SCALING, _faults(0, 1, 2, 5, 10), measures.redis(50)),
)


def chosen(names: Sequence[str]) -> list[Row]:
    """The rows that *names* mean: keys, groups, or ``all``. Raises `ValueError` naming the one that is unknown."""
    known = {row.key for row in ROWS} | {row.group for row in ROWS} | {"all"}
    for name in names:
        if name not in known:
            raise ValueError(f"row {name!r} is not known; known are {', '.join(sorted(known))}")
    return [row for row in ROWS if {row.key, row.group, "all"} & set(names)]
