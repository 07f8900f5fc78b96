"""Speed, memory and start, as ratios to HAProxy's where it can do the same."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import measures, start
from benchmarks.contestants import (
    BARE_THREADS,
    DEFAULT,
    EVERYBODY,
    HAPROXY_ALONE,
    LOOPS,
    VAURIEN,
    Contestant,
    with_handler,
    with_passes,
    with_workers,
)
from benchmarks.measures import IDLE
from benchmarks.rows.row import Row, Target, against_haproxy, of, ratio

GROUP = "asked"


def _requests_and_cpu() -> list[Target]:
    requests = against_haproxy(measures.RATE, 0.9)
    return requests + against_haproxy(measures.CPU_REQUEST, 1.2, at_least=False)


def _passes_against_none() -> list[Target]:
    title = f"{measures.RATE} / no fault"
    five = {loop: ratio(with_passes(loop, 5), Contestant(loop), measures.RATE) for loop in LOOPS}
    return [Target(loop, title, value, 0.65) for loop, value in five.items()]


def _memory(count: int, limit: float) -> list[Target]:
    title = f"{measures.MEMORY}, {count} faults" if count else measures.MEMORY
    who = [with_passes(loop, count) for loop in LOOPS]
    return [Target(one.kind, title, of(one, measures.MEMORY), limit, False, "KB") for one in who]


def _start() -> list[Target]:
    limits = ((start.IMPORT, 30), (start.HELP, 150), (start.READY, 30), (start.FIRST, 300), (start.PLUGIN, 5))
    return [Target(DEFAULT.kind, figure, of(DEFAULT, figure), limit, False, "ms") for figure, limit in limits]


def _framed(protocol: str, measure: measures.Measure) -> Row:
    """What it costs to tell the exchanges of *protocol* apart, while no fault is in play."""
    plain, framed = DEFAULT, Contestant(DEFAULT.kind, f"--protocol {protocol}", ("--protocol", protocol))
    targets = [Target(DEFAULT.kind, f"{measures.RATE} / tcp", ratio(framed, plain, measures.RATE), 0.6)]
    return Row(f"framing-{protocol}", f"framing of {protocol}, 50 clients", GROUP, [plain, framed], measure, targets)


def _handler(clients: int) -> Row:
    """What a handler that copies costs, beside the least that a thread for each connection does."""
    ours = with_handler(DEFAULT.kind)
    title = f"{measures.RATE} / {BARE_THREADS}"
    return Row(
        f"handler-{clients}",
        f"redis GET, {clients} client{'s' if clients > 1 else ''}, a handler that copies",
        GROUP,
        [BARE_THREADS, ours],
        measures.redis(clients),
        [Target(DEFAULT.kind, title, ratio(ours, BARE_THREADS, measures.RATE), 0.6)],
    )


_WORKERS = [with_workers(loop, 2) for loop in LOOPS]

ASKED: Sequence[Row] = (
    Row("redis", "redis GET, 50 clients", GROUP, EVERYBODY, measures.redis(50), _requests_and_cpu()),
    Row(
        "http",
        "HTTP, 64 clients, keep-alive",
        GROUP,
        EVERYBODY,
        measures.http(64, keep_alive=True),
        _requests_and_cpu(),
    ),
    Row(
        "bulk-up",
        "one stream to the backend",
        GROUP,
        EVERYBODY,
        measures.bulk(to_backend=True),
        against_haproxy(measures.BANDWIDTH, 1.3),
    ),
    Row(
        "bulk-down",
        "one stream to the client",
        GROUP,
        EVERYBODY,
        measures.bulk(to_backend=False),
        against_haproxy(measures.BANDWIDTH, 1.3),
    ),
    Row(
        "connections",
        "HTTP, 64 clients, a new connection each",
        GROUP,
        EVERYBODY,
        measures.http(64, keep_alive=False),
        against_haproxy(measures.RATE, 0.65),
    ),
    Row(
        "no-ops",
        "redis GET, 50 clients, five no-op faults in both directions",
        GROUP,
        [with_passes(loop, count) for loop in LOOPS for count in (0, 5)],
        measures.redis(50),
        _passes_against_none(),
    ),
    Row(
        "memory",
        "memory of an idle connection",
        GROUP,
        [HAPROXY_ALONE, *(with_passes(loop, count) for loop in LOOPS for count in (0, 3))],
        measures.memory,
        [*_memory(0, 4.0), *_memory(3, 12.0)],
    ),
    Row(
        "held",
        f"{IDLE:,} idle connections".replace(",", " "),
        GROUP,
        [*VAURIEN, *_WORKERS],
        measures.held,
        [
            Target(one.kind, f"{measures.HELD}, {one.label}".removesuffix(", "), of(one, measures.HELD), IDLE)
            for one in (*VAURIEN, *_WORKERS)
        ],
        rounds=1,
    ),
    Row("start", "start of a program, a test and a proxy", GROUP, [DEFAULT], start.start, _start()),
    _framed("redis", measures.redis(50)),
    _framed("http", measures.http(50, keep_alive=True)),
    _handler(1),
    _handler(50),
)
